// npm run bench:gpu: tokens a second on a GPU, through the public API, for the shape of Qodo-Embed-1-1.5B with random
// weights, and sentence-transformers in bf16 beside it where Python has it. Ends with 1 where no GPU can be used.
//   --device cuda:0       the device (cuda)
//   --rounds 5            what the medians are of
//   --python python3      with torch for CUDA and sentence-transformers
//   --attention sdpa      of sentence-transformers: sdpa or flash_attention_2
//   --json                prints JSON in place of the table
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { ensureModels } from '../../__test__/fixtures/make-models.mjs'
import { Peer } from '../compare/peer.mjs'
import { textsOf } from '../compare/texts.mjs'
import { flops, peak } from './peak.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MODEL = 'bench-qodo-1.5b'
/** Texts and tokens of each. */
const SHAPES = [
  [100, 128],
  [1, 128],
  [16, 2048],
  [1, 32768],
]

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    rounds: { type: 'string', default: '5' },
    python: { type: 'string', default: 'python3' },
    attention: { type: 'string', default: 'sdpa' },
    json: { type: 'boolean', default: false },
  },
})
const say = (message) => console.error(`[bench:gpu] ${message}`)
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1]

/** Makes sure that there is a card before a large model is made; else the end of the program with every reason. */
function checkCards(devices) {
  const kind = values.device.split(':')[0]
  const known = devices.filter((device) => device.kind === kind)
  const usable = known.filter((device) => device.available && device.details.backends?.includes('candle'))
  if (/:\d+$/.test(values.device) ? usable.some(({ id }) => id === values.device) : usable.length > 0) return
  say(`There is no usable device for ${values.device}, so nothing was measured.`)
  for (const { id, reason } of known) say(`${id}: ${reason ?? 'our own encoders do not run on it.'}`)
  if (!known.length) say(`listDevices() has none of this kind: ${devices.map(({ id }) => id).join(', ')}.`)
  process.exit(1)
}

/** The cards that the model really runs on: `cuda:0,1` are two. */
function cardsOf(name, devices) {
  const [kind, indices] = name.split(':')
  const ids = indices === undefined ? [kind] : indices.split(',').map((index) => `${kind}:${index}`)
  return devices.filter(({ id }) => ids.includes(id))
}

/** What all of them could do at most, in TFLOP/s; `undefined` where one is not known. */
function peakOf(cards) {
  const peaks = cards.map(({ name }) => peak(name))
  return peaks.includes(undefined) ? undefined : peaks.reduce((sum, one) => sum + one, 0)
}

async function loadOurs() {
  const entry = join(ROOT, 'dist/index.js')
  if (!existsSync(entry)) {
    say('There is no dist/index.js, so nothing was measured. Run: npm run setup')
    process.exit(1)
  }
  return import(entry)
}

/** Median seconds of a pass, the first of which does not count. */
async function time(pass) {
  await pass()
  const seconds = []
  for (let round = 0; round < Number(values.rounds); round++) {
    const start = performance.now()
    await pass()
    seconds.push((performance.now() - start) / 1e3)
  }
  return median(seconds)
}

/** sentence-transformers in its own process, on one card; `undefined` with a word where it is not there. */
async function sentenceTransformers(folder, device) {
  const worker = join(ROOT, 'benches/compare/workers/sentence_transformers_worker.py')
  const peer = new Peer({ command: [values.python, worker], env: { HF_HUB_OFFLINE: '1' }, missing: 'see --python' })
  try {
    const request = { cmd: 'load', model: folder, threads: 4, precision: 'bf16', device }
    const { versions, notes } = await peer.ask({ ...request, attention: values.attention })
    say(`sentence-transformers ${versions['sentence-transformers']}, torch ${versions.torch}, ${notes}`)
    return peer
  } catch (error) {
    say(`sentence-transformers is not measured: ${error.message}${error.install ? ` (${error.install})` : ''}`)
    peer.close()
  }
}

/** Seconds of a pass with the best of its batch sizes; an error is told and is no time. */
async function timePeer(peer, texts) {
  try {
    const sizes = [...new Set([1, 8, 32, 128].map((size) => Math.min(size, texts.length)))]
    await peer.ask({ cmd: 'texts', texts, batch_sizes: sizes, by: 'wall' })
    const times = []
    for (let round = 0; round < Number(values.rounds); round++)
      times.push((await peer.ask({ cmd: 'run', least_ms: 0 })).wall_ms / 1e3)
    return median(times)
  } catch (error) {
    say(`sentence-transformers: ${error.message}`)
  }
}

const { EmbeddingEngine, listDevices } = await loadOurs()
const devices = listDevices()
checkCards(devices)
const folder = join(ensureModels({ names: [MODEL] }), MODEL)
const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
const engine = new EmbeddingEngine({ device: values.device, offline: true })
const [info] = await engine.preload(folder)
const cards = cardsOf(info.device, devices)
const top = peakOf(cards)
const names = cards.map(({ name }) => name).join(', ')
say(`${names}, ${info.device}, ${info.dtype}; peak ${top ? `${top} TFLOP/s` : 'not known for this card'}`)
const peer = await sentenceTransformers(folder, cards[0].id)
const options = { model: folder, prompt: false, truncate: false }
const count = async (texts) => engine.countTokens(texts, { model: folder, prompt: false })

const lines = []
for (const [texts, tokens] of SHAPES) {
  const made = await textsOf(new Array(texts).fill(tokens), count)
  const counts = await count(made)
  const total = counts.reduce((a, b) => a + b, 0)
  const seconds = await time(() => engine.embedBatch(made, options))
  const theirs = peer && (await timePeer(peer, made))
  const work = counts.reduce((sum, length) => sum + flops(config, length), 0) / 1e12
  lines.push({
    shape: `${texts} x ${tokens}`,
    tokens: total,
    milliseconds: seconds * 1e3,
    tokensPerSecond: total / seconds,
    teraflops: work / seconds,
    shareOfPeak: top && work / seconds / top,
    sentenceTransformers: theirs && total / theirs,
    ratio: theirs && theirs / seconds,
  })
}
peer?.close()
await engine.dispose()

if (values.json) console.log(JSON.stringify({ cards, model: info, peak: top, lines }, null, 2))
else
  console.table(
    lines.map((line) => ({
      'texts x tokens': line.shape,
      ms: line.milliseconds.toFixed(1),
      'tok/s': Math.round(line.tokensPerSecond),
      'TFLOP/s': line.teraflops.toFixed(1),
      'of peak': line.shareOfPeak ? `${(line.shareOfPeak * 100).toFixed(0)} %` : '-',
      'sentence-transformers tok/s': line.sentenceTransformers ? Math.round(line.sentenceTransformers) : '-',
      'ours / it': line.ratio ? line.ratio.toFixed(2) : '-',
    })),
  )
