// The real core inside a real program: the event loop, other work, aborts, workers, exits.
import { lookup } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

import test from 'ava'
import { EmbeddingEngine, embedBatch } from 'embedding-engine'

import { model, texts } from './helpers/models.ts'
import { ROOT, runModule } from './helpers/process.ts'
import { largestDifference } from './helpers/tolerance.ts'

const engine = new EmbeddingEngine({ device: 'cpu' })
test.after.always(() => engine.dispose())

const MODEL = model('qwen3-tiny')
/** A long text, so that a call takes a while even with a small model. */
const LONG = texts.long_20000!

/** About 512 tokens each, all different. */
function textsOf512Tokens(count: number): string[] {
  const words = LONG.split(' ')
  return Array.from({ length: count }, (_, i) => words.slice((i * 97) % 5000, ((i * 97) % 5000) + 280).join(' '))
}

/** Code that makes an engine over the same model, for other processes and threads. */
const PRELUDE = `
  const { EmbeddingEngine } = await import('embedding-engine')
  const engine = new EmbeddingEngine({ device: 'cpu' })
  const model = ${JSON.stringify(MODEL)}
  const long = ${JSON.stringify(LONG)}
`

/** The longest time that the event loop stood still while the work ran. */
async function longestStall(work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 1)
    last = now
  }, 1)
  await work()
  clearInterval(timer)
  return longest
}

test.serial('64 texts of 512 tokens do not stall the event loop', async (t) => {
  const batch = textsOf512Tokens(64)
  await engine.preload(MODEL)
  let tokens = 0
  const stall = await longestStall(async () => {
    tokens = (await engine.embedBatch(batch, { model: MODEL })).usage.tokens
  })
  t.true(tokens > 64 * 400, `${tokens} tokens`)
  t.log(`${tokens} tokens, longest stall ${stall.toFixed(1)} ms`)
  t.true(stall < 100, `${stall} ms`)
})

test.serial('handing over 100,000 texts does not stall it either', async (t) => {
  const many = Array.from({ length: 100_000 }, (_, i) => `text number ${i} é`)
  const controller = new AbortController()
  const stall = await longestStall(async () => {
    const call = embedBatch(many, { model: MODEL, signal: controller.signal })
    setTimeout(() => controller.abort(), 500)
    await t.throwsAsync(call, { any: true })
  })
  t.log(`longest stall ${stall.toFixed(1)} ms`)
  t.true(stall < 100, `${stall} ms`)
})

test.serial('8 calls at once leave fs and dns working', async (t) => {
  const batch = textsOf512Tokens(16)
  const state = { running: true, rounds: 0, slowest: 0 }
  const calls = Promise.all(Array.from({ length: 8 }, async () => engine.embedBatch(batch, { model: MODEL }))).finally(
    () => (state.running = false),
  )
  while (state.running) {
    const begin = performance.now()
    await Promise.all([readFile(`${ROOT}/package.json`), lookup('localhost'), readFile(`${ROOT}/LICENSE`)])
    state.slowest = Math.max(state.slowest, performance.now() - begin)
    state.rounds++
  }
  const results = await calls
  for (const { embeddings } of results) {
    t.is(embeddings.length, 16)
    t.true(largestDifference(embeddings[0]!, results[0]!.embeddings[0]!) < 1e-5)
  }
  t.log(`${state.rounds} rounds of fs and dns meanwhile, the slowest ${state.slowest.toFixed(1)} ms`)
  t.true(state.rounds > 3)
  t.true(state.slowest < 1000, `${state.slowest} ms`)
})

test.serial('an abort in the middle of a long text rejects at once, and the engine goes on', async (t) => {
  const controller = new AbortController()
  const call = engine.embedBatch([LONG, LONG.slice(1), LONG.slice(2)], { model: MODEL, signal: controller.signal })
  await sleep(100)
  const begin = performance.now()
  controller.abort(new Error('enough'))
  await t.throwsAsync(call, { message: 'enough' })
  t.true(performance.now() - begin < 100)
  await t.notThrowsAsync(engine.embed('and on it goes', { model: MODEL }))
})

test.serial('a query overtakes a running index job', async (t) => {
  await using own = new EmbeddingEngine({ device: 'cpu', maxTokensPerBatch: 1024 })
  await own.preload(MODEL)
  let jobDone = false
  const job = own.embedBatch(textsOf512Tokens(128), { model: MODEL }).then(() => (jobDone = true))
  await sleep(50)
  await own.embed('where are retries handled', { model: MODEL, task: 'query' })
  t.false(jobDone, 'the query was answered before the job ended')
  await job
})

test.serial('a disposed engine frees itself while work runs', async (t) => {
  const own = new EmbeddingEngine({ device: 'cpu' })
  const call = t.throwsAsync(own.embed(LONG, { model: MODEL }), { code: 'DISPOSED' })
  await sleep(100)
  await own.dispose()
  await call
})

test.serial('works in a worker thread', async (t) => {
  const worker = new Worker(
    `(async () => {
      const { parentPort } = require('node:worker_threads')
      ${PRELUDE}
      const { embedding } = await engine.embed('Hello', { model })
      parentPort.postMessage(embedding)
    })()`,
    { eval: true },
  )
  // Listened for from the beginning: the worker may be gone before the call here has ended.
  const exited = new Promise((resolve) => worker.once('exit', resolve))
  const there = await new Promise<Float32Array>((resolve, reject) =>
    worker.once('message', resolve).once('error', reject),
  )
  const here = await engine.embed('Hello', { model: MODEL })
  t.true(largestDifference(there, here.embedding) < 1e-5)
  t.is(await exited, 0)
})

test.serial('a worker thread may be terminated in the middle of a call', async (t) => {
  for (const wait of [0, 20, 200]) {
    const worker = new Worker(
      `(async () => {
        const { parentPort } = require('node:worker_threads')
        ${PRELUDE}
        await engine.preload(model)
        parentPort.postMessage('go')
        await engine.embedBatch([long, long, long], { model })
      })()`,
      { eval: true },
    )
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    await sleep(wait)
    const begin = performance.now()
    await worker.terminate()
    t.true(performance.now() - begin < 5000)
  }
  await t.notThrowsAsync(engine.embed('still here', { model: MODEL }))
})

const exits: [name: string, source: string, code: number, stdout: string][] = [
  ['after an embed', `await engine.embed('a', { model }); console.log('done')`, 0, 'done'],
  ['after dispose', `await engine.embed('a', { model }); await engine.dispose(); console.log('done')`, 0, 'done'],
  [
    'after an aborted embed',
    `await engine.preload(model)
    const name = await engine.embed(long, { model, signal: AbortSignal.timeout(100) }).catch((error) => error.name)
    console.log(name)`,
    0,
    'TimeoutError',
  ],
  [
    'with process.exit in the middle of a call',
    `await engine.preload(model); engine.embed(long, { model }); setTimeout(() => process.exit(7), 100)`,
    7,
    '',
  ],
  ['a pending call keeps the process alive', `engine.embed('a', { model }).then(() => console.log('done'))`, 0, 'done'],
  ['an idle engine does not', `await engine.preload(model); console.log('idle')`, 0, 'idle'],
  [
    'an error nobody catches',
    `process.on('uncaughtException', (error) => { console.log(error.code); process.exitCode = 3 }); engine.embed('a', { model: './nowhere' })`,
    3,
    'MODEL_NOT_FOUND',
  ],
]
for (const [name, source, code, stdout] of exits) {
  test.serial(`clean exit: ${name}`, async (t) => {
    const outcome = await runModule(PRELUDE + source)
    t.is(outcome.signal, null, outcome.stderr)
    t.is(outcome.code, code, outcome.stderr)
    t.is(outcome.stdout.trim(), stdout)
  })
}

test.serial('a stream of 2,000 texts keeps its memory bounded', async (t) => {
  const { stdout, stderr } = await runModule(`${PRELUDE}
    const words = long.split(' ')
    function* source() {
      for (let i = 0; i < 2000; i++) yield words.slice(i % 900, (i % 900) + 20 + (i % 200)).join(' ')
    }
    await engine.preload(model)
    await engine.embed(long.slice(0, 2000), { model })
    global.gc?.()
    const before = process.memoryUsage.rss()
    let peak = before
    const timer = setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, 5)
    let count = 0
    for await (const { embeddings } of engine.embedStream(source(), { model })) count += embeddings.length
    clearInterval(timer)
    console.log(JSON.stringify({ count, megabytes: (peak - before) / 1e6 }))`)
  const { count, megabytes } = JSON.parse(stdout || stderr) as { count: number; megabytes: number }
  t.is(count, 2000)
  t.log(`peak ${megabytes.toFixed(0)} MB above the loaded model`)
  t.true(megabytes < 300, `${megabytes} MB`)
})
