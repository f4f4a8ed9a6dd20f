// npm start: all set-up from a fresh clone, then the main job: search in code by what it does.
//   npm start                                  this repository
//   npm start -- ./my-repo ["a question" …]    a folder of yours
// The model is the one that comes with the package, or EMBEDDING_ENGINE_MODEL.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

import { ROOT, SetupError, main, setup } from './setup.mjs'

const CLI = join(ROOT, 'dist/lib/cli/main.js')

/** Asked where the user asks nothing. */
const QUESTIONS = {
  own: [
    'growing waits between attempts',
    'resume a download that was cut',
    'split code at the borders of functions',
    'fuse full text and vector scores',
  ],
  other: ['where are errors handled', 'read the configuration', 'parse the arguments of the command line'],
}

const number = (value) => value.toLocaleString('en-US', { maximumFractionDigits: 0 })

/** How far an update is, on one line of a terminal; elsewhere nothing but its end is worth a line. */
function progress() {
  const line = process.stderr.isTTY
  return {
    show: ({ status, done, total }) => {
      if (line && total > 0) process.stderr.write(`\r\x1b[K[index] ${status}: ${number(done)} of ${number(total)}`)
    },
    end: () => {
      if (line) process.stderr.write('\r\x1b[K')
    },
  }
}

async function bringUpToDate(index, folder) {
  console.log(`[index] ${folder}`)
  const begin = performance.now()
  const { show, end } = progress()
  const { files, added, changed, removed, unchanged, chunks, tokens, skipped } = await index.update({
    onProgress: show,
  })
  end()
  const seconds = (performance.now() - begin) / 1000
  const rate = tokens > 0 ? `, ${number(tokens)} tokens (${number(tokens / seconds)} a second)` : ', nothing to embed'
  console.log(`[index] ${number(files)} files, ${number(chunks)} chunks${rate}, in ${seconds.toFixed(1)} s`)
  console.log(`[index] ${added} files added, ${changed} changed, ${removed} removed, ${unchanged} unchanged`)
  const left = Object.entries(skipped).map(([reason, count]) => `${count} ${reason}`)
  if (left.length > 0) console.log(`[index] skipped: ${left.join(', ')}`)
}

async function ask(index, question) {
  const begin = performance.now()
  const hits = await index.query(question, { top: 3 })
  console.log(`\n${question}  (${(performance.now() - begin).toFixed(1)} ms)`)
  for (const { path, startLine, endLine, kind, name, score } of hits)
    console.log(
      `  ${score.toFixed(2).padStart(6)}  ${path}:${startLine}-${endLine}  ${name ? `${kind} ${name}` : kind}`,
    )
  if (hits.length === 0) console.log('  nothing found')
}

/** The prompt of the command line, on the same index. */
function prompt(folder, store) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CLI, 'search', folder, '--store', store], { stdio: 'inherit' })
    child.on('close', resolve)
  })
}

await main(async () => {
  const [named, ...questions] = process.argv.slice(2)
  // npm runs this in the root, but a path is meant from where the user is.
  const folder = named === undefined ? resolve(ROOT) : resolve(process.env.INIT_CWD ?? '.', named)
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new SetupError(`${folder} is no folder. Usage: npm start -- ./my-repo ["a question" …]`)
  }
  await setup()
  console.log()
  const { openIndex } = await import('embedding-engine')
  // In target/, so that a try leaves nothing elsewhere; used again by the next one.
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 16)
  const store = join(ROOT, 'target', 'start', `${name}.db`)
  const index = await openIndex(folder, { store })
  try {
    await bringUpToDate(index, folder)
    const asked = questions.length > 0 ? questions : relative(ROOT, folder) === '' ? QUESTIONS.own : QUESTIONS.other
    for (const question of asked) await ask(index, question)
  } finally {
    await index.close()
  }
  console.log()
  if (process.stdin.isTTY && process.stdout.isTTY) await prompt(folder, store)
  else console.log(`On a terminal a prompt follows. Or: npx embedding-engine search "a question" ${folder}`)
})
