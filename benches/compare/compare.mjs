// Measures this engine beside others: the same model folder, texts and number of threads. See README.md.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { ensureModels } from '../../__test__/fixtures/make-models.mjs'
import { OURS, PEERS, engines, workFolder } from './engines.mjs'
import { Peer } from './peer.mjs'
import { modelReport, shapeOf, surroundings } from './report.mjs'
import { SETS, makeTexts } from './texts.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const BENCH_MODELS = ['bench-minilm', 'bench-qwen2-0.5b']
const BATCH_SIZES = [1, 4, 8, 32]
/** What an engine does in a round lasts at least this long: one pass may be too short to tell. */
const LEAST_MS = 1000

const USAGE = `node benches/compare/compare.mjs [options]
  --model <folder>       a sentence-transformers folder, or ${BENCH_MODELS.join(' or ')}; may be repeated (both of these)
  --texts <sets>         ${Object.keys(SETS).join(', ')} (all)
  --count <n>            texts cut from sources in the mixed set (32)
  --threads <n>          of each engine (1)
  --rounds <n>           what the medians are of (3)
  --peers <names>        ${Object.keys(PEERS).join(', ')} (all)
  --low                  ours in bf16 and int8, sentence-transformers and node-llama-cpp in bf16 too
  --python <command>     with the packages of requirements.txt (python3)
  --llama-from <folder>  where node-llama-cpp is installed (this repository)
  --work <folder>        for ONNX and GGUF conversions (target/compare)
  --json                 prints JSON in place of tables
  --verbose              shows what the engines say`

const { values } = parseArgs({
  options: {
    model: { type: 'string', multiple: true, default: BENCH_MODELS },
    texts: { type: 'string', default: Object.keys(SETS).join(',') },
    count: { type: 'string', default: '32' },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    peers: { type: 'string', default: Object.keys(PEERS).join(',') },
    low: { type: 'boolean', default: false },
    python: { type: 'string', default: 'python3' },
    'llama-from': { type: 'string', default: ROOT },
    work: { type: 'string', default: join(ROOT, 'target/compare') },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

function fail(message) {
  console.error(`${message}\n\n${USAGE}`)
  process.exit(2)
}

function whole(name) {
  const value = Number(values[name])
  if (!Number.isInteger(value) || value < 1) fail(`--${name} takes a whole number from 1, not '${values[name]}'.`)
  return value
}

function names(option, known) {
  const list = values[option].split(',').filter(Boolean)
  const wrong = list.find((name) => !Object.hasOwn(known, name))
  if (wrong !== undefined) fail(`--${option} knows ${Object.keys(known).join(', ')}, not '${wrong}'.`)
  return list
}

if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const options = {
  peers: names('peers', PEERS),
  sets: names('texts', SETS),
  texts: whole('count'),
  threads: whole('threads'),
  rounds: whole('rounds'),
  low: values.low,
  python: values.python,
  llamaFrom: resolve(values['llama-from']),
  work: resolve(values.work),
}

const say = (message) => console.error(`[compare] ${message}`)
const label = ({ name, precision }) => `${name} ${precision}`
const median = (list) => {
  const sorted = list.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function floats(base64) {
  const bytes = Buffer.from(base64, 'base64')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

/** The smallest cosine between rows of the same text; NaN where the shapes differ or a number is none. */
function leastCosine(a, b, texts) {
  if (a.length !== b.length) return NaN
  const width = a.length / texts
  let least = 1
  for (let start = 0; start < a.length; start += width) {
    let [ab, aa, bb] = [0, 0, 0]
    for (let i = start; i < start + width; i++) {
      ab += a[i] * b[i]
      aa += a[i] * a[i]
      bb += b[i] * b[i]
    }
    const cosine = ab / Math.sqrt(aa * bb)
    if (!(cosine >= least)) least = cosine
  }
  return least
}

/** Runs a step on each engine that still lives; one that fails leaves with its error. */
async function each(live, errors, step) {
  for (const peer of live.slice()) {
    try {
      await step(peer)
    } catch (error) {
      say(`${label(peer)}: ${error.kind ?? 'failed'}: ${error.message}`)
      errors.push({
        engine: peer.name,
        precision: peer.precision,
        error: { kind: error.kind ?? 'failed', message: error.message, install: error.install },
      })
      live.splice(live.indexOf(peer), 1)
      peer.close()
    }
  }
}

async function measureSet(name, { live, errors, order, limit }) {
  const [ours] = live
  if (ours?.name !== OURS) {
    const { message, install } = errors[0].error
    throw new Error(`embedding-engine itself does not run here: ${message}${install ? ` Run: ${install}` : ''}`)
  }
  const count = async (texts) => (await ours.ask({ cmd: 'count', texts })).tokens
  const texts = await makeTexts(name, { limit, texts: options.texts, count })
  const counts = await count(texts)
  const tokens = counts.reduce((a, b) => a + b, 0)
  const sizes = BATCH_SIZES.filter((size) => size === 1 || size <= texts.length)
  const results = new Map()
  const warnings = []
  await each(live, errors, async (peer) => {
    say(`${name}: ${label(peer)} warms up on ${texts.length} texts, ${tokens} tokens`)
    const answer = await peer.ask({ cmd: 'texts', texts, batch_sizes: sizes })
    results.set(peer, { ...answer, vectors: floats(answer.vectors), wall: [], cpu: [] })
    const different = answer.tokens.filter((n, i) => n !== counts[i]).length
    if (different > 0)
      warnings.push(`${label(peer)} reads ${different} of ${texts.length} texts as another number of tokens.`)
  })
  for (let round = 1; round <= options.rounds; round++) {
    say(`${name}: round ${round} of ${options.rounds}`)
    await each(live, errors, async (peer) => {
      const { wall_ms, cpu_ms } = await peer.ask({ cmd: 'run', least_ms: LEAST_MS })
      results.get(peer).wall.push(wall_ms)
      results.get(peer).cpu.push(cpu_ms)
    })
  }
  return {
    name,
    texts: texts.length,
    tokens,
    shortest: Math.min(...counts),
    longest: Math.max(...counts),
    warnings,
    ...rowsOf({ order, results, errors, tokens, count: texts.length }),
  }
}

function rowsOf({ order, results, errors, tokens, count }) {
  const of = (name, precision) =>
    order.find((peer) => peer.name === name && peer.precision === precision && results.has(peer))
  const ours = of(OURS, 'f32')
  const own = ['f32', 'bf16', 'int8'].map((precision) => [precision, of(OURS, precision)]).filter(([, peer]) => peer)
  const reference = of(PEERS.st, 'f32') ?? ours
  const rows = order.map((peer) => {
    const row = { engine: peer.name, precision: peer.precision, isOurs: peer.name === OURS }
    const failure = errors.find((e) => e.engine === peer.name && e.precision === peer.precision)
    if (failure) return { ...row, error: failure.error }
    const { wall, cpu, vectors, batch_size, tried } = results.get(peer)
    const [wallMs, cpuMs] = [median(wall), median(cpu)]
    return {
      ...row,
      batchSize: batch_size,
      tried,
      wallMs,
      cpuMs,
      allWallMs: wall,
      allCpuMs: cpu,
      tokensPerSecond: (tokens / wallMs) * 1e3,
      tokensPerCpuSecond: (tokens / cpuMs) * 1e3,
      ratiosWall: Object.fromEntries(own.map(([name, peer]) => [name, wallMs / median(results.get(peer).wall)])),
      ratiosCpu: Object.fromEntries(own.map(([name, peer]) => [name, cpuMs / median(results.get(peer).cpu)])),
      isReference: peer === reference,
      leastCosine: reference && leastCosine(vectors, results.get(reference).vectors, count),
    }
  })
  return { rows, reference: reference && label(reference) }
}

async function measureModel(model) {
  const folder =
    BENCH_MODELS.includes(model) && !existsSync(model) ? join(ensureModels({ names: [model] }), model) : resolve(model)
  if (!existsSync(join(folder, 'config.json'))) fail(`There is no model in ${folder}: it has no config.json.`)
  const before = surroundings()
  const order = engines(options).map((engine) => new Peer(engine, values.verbose))
  const live = [...order]
  const errors = []
  const versions = {}
  const notes = []
  const work = workFolder(options.work, folder)
  let limit
  try {
    await each(live, errors, async (peer) => {
      say(`${label(peer)} loads ${folder}`)
      const info = await peer.ask({
        cmd: 'load',
        model: folder,
        threads: options.threads,
        precision: peer.precision,
        limit,
        work,
        python: options.python,
        llamaFrom: options.llamaFrom,
      })
      limit ??= info.limit
      Object.assign(versions, info.versions)
      notes.push(`${label(peer)}: ${info.notes}`)
    })
    const sets = []
    for (const set of options.sets) sets.push(await measureSet(set, { live, errors, order, limit }))
    const { threads, rounds } = options
    return {
      model: folder,
      shape: shapeOf(folder),
      threads,
      rounds,
      before,
      after: surroundings(),
      versions,
      notes,
      reference: sets[0]?.reference,
      sets,
      errors,
    }
  } finally {
    for (const peer of order) peer.close()
  }
}

const reports = []
try {
  for (const model of values.model) {
    const report = await measureModel(model)
    reports.push(report)
    if (!values.json) console.log(`${modelReport(report)}\n`)
  }
} catch (error) {
  console.error(values.verbose ? error : error.message)
  process.exitCode = 1
}
if (values.json) console.log(JSON.stringify(reports, null, 2))
