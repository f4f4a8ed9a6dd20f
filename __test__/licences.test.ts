import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import test from 'ava'

import { ROOT } from './helpers/process.ts'

// Which packages' code the bundled model may be trained on: scripts/licences.mjs.
const { isAllowed, ofPythonMetadata } = (await import(pathToFileURL(join(ROOT, 'scripts/licences.mjs')).href)) as {
  isAllowed(expression: string): boolean
  ofPythonMetadata(text: string): { version: string; license: string }
}

test('licences that are allowed by name, alone and together', (t) => {
  for (const allowed of [
    'MIT',
    'MIT OR GPL-3.0-only',
    'MIT/Apache-2.0',
    '(MIT OR GPL-3.0-only) AND BSD-3-Clause',
    'Apache-2.0 WITH LLVM-exception',
    'Apache-2.0 WITH LLVM-exception OR GPL-2.0-only',
  ]) {
    t.true(isAllowed(allowed), allowed)
  }
  for (const refused of [
    '',
    'GPL-3.0-only',
    'MIT AND GPL-3.0-only',
    '(MIT OR Apache-2.0) AND Unicode-3.0',
    'SEE LICENSE IN LICENSE.md',
    'UNLICENSED',
    'MIT OR',
    '(MIT',
    'MIT MIT',
    'GPL-2.0-only WITH Classpath-exception-2.0',
  ]) {
    t.false(isAllowed(refused), refused)
  }
})

test('the licence that a Python package names', (t) => {
  const metadata = (...lines: string[]) =>
    ['Metadata-Version: 2.4', 'Version: 1.2', ...lines, '', 'Version: 9'].join('\n')
  const license = (...lines: string[]) => ofPythonMetadata(metadata(...lines)).license
  t.deepEqual(ofPythonMetadata(metadata('License-Expression: MIT')), { version: '1.2', license: 'MIT' })
  t.is(license('License: whatever', 'Classifier: License :: OSI Approved :: BSD License'), 'BSD')
  t.is(license('License: Apache 2.0'), 'Apache-2.0')
  const both = ['MIT License', 'GNU General Public License v3 (GPLv3)']
  t.false(isAllowed(license(...both.map((name) => `Classifier: License :: OSI Approved :: ${name}`))))
  t.is(license(), '')
  t.false(isAllowed(license('License: Proprietary')))
})
