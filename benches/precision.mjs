// What coarser weights cost a model: node benches/precision.mjs <model folder> [text files or folders …]
// Embeds pieces of the files (of this checkout's sources, if none are named) in each number format and compares with
// float32: the cosine of each text with itself, and how many of its ten nearest neighbours stay.
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { EmbeddingEngine } from '../dist/index.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Characters of a piece: well below the 256 tokens that small models read. */
const PIECE = 900
const NEIGHBOURS = 10

const [model, ...named] = process.argv.slice(2)
if (model === undefined) {
  console.error('usage: node benches/precision.mjs <model folder> [files or folders …]')
  process.exit(2)
}

function* files(path) {
  if (statSync(path).isFile()) yield path
  else for (const name of readdirSync(path).sort()) yield* files(join(path, name))
}

const paths = named.length > 0 ? named : ['lib', 'crates/engine/src'].map((name) => join(ROOT, name))
const texts = []
for (const path of paths.flatMap((path) => [...files(path)])) {
  // One piece of four: neighbours are then other places, not the next lines.
  const text = readFileSync(path, 'utf8')
  for (let at = 0; at < text.length; at += 4 * PIECE) texts.push(text.slice(at, at + PIECE))
}

async function embed(dtype) {
  const engine = new EmbeddingEngine({ device: 'cpu', dtype })
  const { embeddings } = await engine.embedBatch(texts, { model, prompt: false })
  await engine.dispose()
  return embeddings
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0)

/** The indices of the nearest neighbours of a text. */
function nearest(embeddings, of) {
  const scores = embeddings.map((vector, i) => [i === of ? -Infinity : dot(vector, embeddings[of]), i])
  return scores
    .sort(([a], [b]) => b - a)
    .slice(0, NEIGHBOURS)
    .map(([, i]) => i)
}

const exact = await embed('float32')
const neighbours = texts.map((_, i) => new Set(nearest(exact, i)))
console.log(`${model}, ${texts.length} texts, against float32`)
for (const dtype of ['bfloat16', 'int8']) {
  const embeddings = await embed(dtype)
  const cosines = embeddings.map((vector, i) => dot(vector, exact[i])).sort((a, b) => a - b)
  const kept = neighbours.map((set, i) => nearest(embeddings, i).filter((other) => set.has(other)).length)
  const share = kept.reduce((sum, count) => sum + count, 0) / (NEIGHBOURS * texts.length)
  const median = cosines[cosines.length >> 1]
  console.log(
    `${dtype.padEnd(8)} least cosine ${cosines[0].toFixed(5)}, median ${median.toFixed(5)}, ` +
      `${(100 * share).toFixed(1)} % of the ${NEIGHBOURS} nearest stay`,
  )
}
