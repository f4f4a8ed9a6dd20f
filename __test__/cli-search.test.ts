import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'
import type { ExecutionContext } from 'ava'
import type { SearchHit, UpdateReport } from 'embedding-engine'

import { model } from './helpers/models.ts'
import { runCli } from './helpers/process.ts'
import type { Outcome, RunOptions } from './helpers/process.ts'

interface Document {
  query: string
  space: string
  hits: SearchHit[]
  update: UpdateReport
}

/** A folder to search, and a way to run the command in it. */
function place(t: ExecutionContext): {
  folder: string
  search: (args: string[], options?: RunOptions) => Promise<Outcome>
} {
  const root = mkdtempSync(join(tmpdir(), 'embedding-engine-search-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  const folder = join(root, 'repo')
  mkdirSync(folder)
  writeFileSync(join(folder, 'retry.py'), 'def retry_later(call):\n    return call()\n\n\ndef other():\n    pass\n')
  writeFileSync(join(folder, 'queue.ts'), 'export function push(x: number) {\n  return x\n}\n')
  const env = { EMBEDDING_ENGINE_MODEL: model('bert-mean'), EMBEDDING_ENGINE_HOME: join(root, 'home') }
  return {
    folder,
    search: (args, options) => runCli(['search', ...args], { ...options, env: { ...env, ...options?.env } }),
  }
}

test.serial('hits with place, name, kind, score and lines; the second run embeds nothing', async (t) => {
  const { folder, search } = place(t)
  const args = ['add a number', folder, '--language', 'typescript']
  const { stdout, stderr, code } = await search(args)
  t.is(code, 0, stderr)
  const lines = stdout.split('\n')
  t.regex(lines[0]!, /queue\.ts:1-3 {2}push {2}function {2}-?\d+\.\d{3}$/)
  t.deepEqual(lines.slice(1), ['  1  export function push(x: number) {', '  2    return x', '  3  }', '', ''])
  t.false(stdout.includes('\x1b'), 'no colours where there is no terminal')
  t.regex(stderr, /^2 files, 3 chunks: 2 changed, 3 embedded \(\d+ tokens\) in .* tokens\/s\n$/)

  const again = await search(args)
  t.is(again.stdout, stdout)
  t.is(again.stderr, '')
})

test.serial('one JSON document', async (t) => {
  const { folder, search } = place(t)
  const { stdout, code, stderr } = await search([
    'retry',
    folder,
    '--json',
    '--no-hybrid',
    '--language',
    'py',
    '--path',
    '*.py',
  ])
  t.is(code, 0, stderr)
  const { query, hits, update, space } = JSON.parse(stdout) as Document
  t.is(query, 'retry')
  t.is(space, update.space)
  t.deepEqual([update.files, update.embedded], [2, 3])
  t.deepEqual(
    hits.map(({ path }) => path),
    ['retry.py', 'retry.py'],
  )
  for (const { score } of hits) t.true(score >= -1 && score <= 1)
})

test.serial('queries from standard input, one a line; a folder alone is the folder', async (t) => {
  const { folder, search } = place(t)
  const { stdout, code, stderr } = await search([folder, '--json', '--top', '1'], { input: 'retry\r\n\n  \npush x' })
  t.is(code, 0, stderr)
  const documents = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Document)
  t.deepEqual(
    documents.map(({ query, hits }) => [query, hits.length]),
    [
      ['retry', 1],
      ['push x', 1],
    ],
  )
  const nothing = await search([folder])
  t.deepEqual([nothing.code, nothing.stdout], [0, ''])
})

test.serial('include, exclude and store', async (t) => {
  const { folder, search } = place(t)
  const store = join(folder, '..', 'own.db')
  const run = async (args: string[]): Promise<number> => {
    const { stdout, stderr } = await search(['x', folder, '--json', '--store', store, ...args])
    return stdout === '' ? t.fail(stderr) && 0 : (JSON.parse(stdout) as Document).update.files
  }
  t.is(await run(['--include', '*.py']), 1)
  t.is(await run(['--exclude', '*.py', '*.md']), 1)
  t.is(await run([]), 2)
})

test.serial('what was typed wrong is exit code 2, what fails is 1', async (t) => {
  const { folder, search } = place(t)
  for (const args of [
    [' ', folder],
    ['x', folder, '--top', '0'],
    ['x', folder, '--language', 'cobol'],
    ['x', folder, '--model', 'auto'],
    ['x', folder, '--nothing'],
  ]) {
    const { code, stderr } = await search(args)
    t.is(code, 2, `${args.join(' ')}: ${stderr}`)
  }
  const missing = await search(['x', join(folder, 'nowhere')])
  t.is(missing.code, 1)
  t.regex(missing.stderr, /nowhere.*\[INVALID_INPUT\]/)
  const model404 = await search(['x', folder, '--model', './no-such-model'])
  t.is(model404.code, 1)
  t.regex(model404.stderr, /MODEL_NOT_FOUND/)
})

test.serial('control characters of a source do not reach the terminal', async (t) => {
  const { folder, search } = place(t)
  writeFileSync(join(folder, 'evil.py'), 'def evil():\n    x = "\x1b[2J\u202e"\n')
  const { stdout, code } = await search(['evil', folder, '--top', '4'])
  t.is(code, 0)
  t.true(stdout.includes('def evil'))
  // eslint-disable-next-line no-control-regex
  t.notRegex(stdout, /[\u0000-\u0009\u000b-\u001f\u202e]/)
})

test.serial('Ctrl-C while indexing is 130, and the next run goes on', async (t) => {
  const { folder, search } = place(t)
  for (let file = 0; file < 60; file++) {
    const body = Array.from({ length: 120 }, (_, i) => `def f_${file}_${i}(x):\n    return x + ${i}\n\n`).join('\n')
    writeFileSync(join(folder, `f${file}.py`), body)
  }
  const begin = Date.now()
  const { code, stderr } = await search(['x', folder], { interruptWhen: () => Date.now() - begin > 1500 })
  if (code === 0) return t.log('it was faster than the interrupt')
  t.is(code, 130)
  t.regex(stderr, /What was stored stays/)
  const next = await search(['x', folder, '--json', '--top', '1'])
  t.is(next.code, 0, next.stderr)
  t.is((JSON.parse(next.stdout) as Document).update.files, 62)
})
