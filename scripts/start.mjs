// npm start: all set-up from a fresh clone, then what works here (doctor), then a first embedding.
//   npm start                             a small random model made on the spot, over this repository's own lines
//   npm start -- ./folder ["text" …]      a model folder of yours
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { ROOT, SetupError, main, setup } from './setup.mjs'

const CLI = join(ROOT, 'dist/lib/cli/main.js')
/** The fixture that is shown when no model is named: small, made by a formula in a second. */
const SHOWN = 'bert-mean'

function cli(...args) {
  try {
    execFileSync(process.execPath, [CLI, ...args], { cwd: process.cwd(), stdio: 'inherit' })
  } catch {
    throw new SetupError(`embedding-engine ${args[0]} failed: see above.`)
  }
}

/** Embeds the given texts, or a few lines of this repository, and tells which are nearest to the first. */
async function show(model, texts) {
  const { embedBatch, topK } = await import('embedding-engine')
  const { embeddings, dimensions, usage, model: used, space } = await embedBatch(texts, { model })
  console.log(
    `${used.id}: ${used.backend} on ${used.device}, ${dimensions} dimensions, ${usage.tokens} tokens, space ${space}\n`,
  )
  console.log(`Nearest to: ${texts[0]}`)
  for (const { index, score } of topK(embeddings[0], embeddings.slice(1), 5))
    console.log(`  ${score.toFixed(4)}  ${texts[index + 1]}`)
}

/** A few lines of our own sources that say something. */
function ownLines() {
  const lines = ['lib/engine.ts', 'lib/stream.ts', 'crates/engine/src/lib.rs'].flatMap((file) =>
    readFileSync(join(ROOT, file), 'utf8').split('\n'),
  )
  return lines
    .map((line) => line.trim())
    .filter((line) => line.length > 40 && line.length < 100)
    .slice(0, 40)
}

async function makeRandomModel() {
  const generator = join(ROOT, '__test__/fixtures/make-models.mjs')
  if (!existsSync(generator)) throw new SetupError(`There is no ${generator}.`)
  const { ensureModels } = await import(generator)
  return join(ensureModels({ names: [SHOWN] }), SHOWN)
}

await main(async () => {
  const [named, ...texts] = process.argv.slice(2)
  // npm runs this in the root, but a path is meant from where the user is.
  const model = named?.startsWith('.') ? resolve(process.env.INIT_CWD ?? '.', named) : named
  await setup()
  console.log()
  cli('doctor', ...(model === undefined ? [] : ['--model', model]))
  console.log()
  if (model !== undefined) return show(model, texts.length > 0 ? texts : ownLines())
  console.log(
    'No model was named, so this makes a small RANDOM one. Its vectors mean nothing: they only show that all parts\n' +
      'work together. With a real model folder: npm start -- ./path/to/model "a text" "another"\n',
  )
  await show(await makeRandomModel(), ownLines())
})
