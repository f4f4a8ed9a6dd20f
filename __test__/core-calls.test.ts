// What the TypeScript side asks of the core, and how it passes on the answers, seen by a stand-in for the core.
import test from 'ava'
import {
  EmbeddingEngine,
  countTokens,
  embed,
  embedBatch,
  embedChunks,
  embedStream,
  listDevices,
  preloadModels,
} from 'embedding-engine'
import type { EmbeddingProgress } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { core, untilCalls } from './helpers/fake-core.ts'

const model = 'fake'
const lastCall = () => core.calls.at(-1)!

test.serial(
  'texts arrive as UTF-8 with their lengths; lone surrogates become U+FFFD; nothing is trimmed',
  async (t) => {
    await embedBatch([' a\r\n', 'é😀', 'x\ud800y', '\udc00'], { model })
    t.deepEqual(lastCall().lengths, [4, 6, 5, 3])
    t.is(lastCall().text, ' a\r\né😀x\ufffdy\ufffd')
  },
)

test.serial('a text of many pieces keeps its characters', async (t) => {
  // An odd start puts the surrogate pairs across the borders of the pieces.
  const text = `a${'😀'.repeat(300_000)}\ud83d`
  await embed(text, { model })
  t.deepEqual(lastCall().lengths, [1 + 4 * 300_000 + 3])
  t.true(lastCall().text === `a${'😀'.repeat(300_000)}\ufffd`)
})

test.serial('options are passed on, without those that are ours', async (t) => {
  const onProgress = (): void => {}
  await embed('a', {
    model,
    task: 'query',
    prompt: false,
    dimensions: 4,
    precision: 'int8',
    signal: new AbortController().signal,
    onProgress,
  })
  t.deepEqual(lastCall().request, { model, task: 'query', prompt: false, dimensions: 4, precision: 'int8' })
})

test.serial('counting passes on only what changes the count', async (t) => {
  t.is(await countTokens('abc', { model, task: 'query', dimensions: 4, precision: 'int8' }), 3)
  t.deepEqual(core.counted.at(-1), { model, task: 'query' })
})

test.serial('only a stream waits for room in the queue', async (t) => {
  await embedBatch(['a'], { model })
  t.is(lastCall().request.wait, undefined)
  for await (const _ of embedStream(['a'], { model }));
  t.is(lastCall().request.wait, true)
  t.is(lastCall().request.batchSize, undefined)
})

test.serial('the model comes from the environment where a call names none, else it is the bundled one', async (t) => {
  process.env.EMBEDDING_ENGINE_MODEL = './from-environment'
  await embed('a')
  t.is(lastCall().request.model, './from-environment')
  delete process.env.EMBEDDING_ENGINE_MODEL
  await embed('a')
  t.is(lastCall().request.model, 'bundled')
})

test.serial('chunks become ranges of bytes, and take whole characters in', async (t) => {
  const document = 'aé😀中b'
  await embedChunks(
    document,
    [
      { start: 0, end: 2 },
      { start: 2, end: 4 },
      { start: 3, end: 5 },
      { start: 0, end: 3 },
      { start: 1, end: 6 },
    ],
    { model },
  )
  t.deepEqual(lastCall().request.chunks, [
    { start: 0, end: 3 },
    { start: 3, end: 7 },
    { start: 3, end: 10 },
    { start: 0, end: 7 },
    { start: 1, end: 11 },
  ])
})

test.serial('rows are views into one array', async (t) => {
  const { embeddings, data, dimensions, usage, truncated } = await embedBatch(['a', 'bb'], { model })
  t.is(dimensions, 4)
  t.deepEqual(Array.from(data), [1, 0, 0, 1, 2, 0, 0, 1])
  t.is(embeddings[1]!.buffer, data.buffer)
  t.deepEqual(Array.from(embeddings[1]!), [2, 0, 0, 1])
  t.deepEqual(usage, { tokens: 6, tokensPerText: Uint32Array.of(3, 3) })
  t.deepEqual(truncated, [false, false])
})

test.serial('no texts give no vectors', async (t) => {
  const { embeddings, data, usage, truncated } = await embedBatch([], { model })
  t.deepEqual([embeddings.length, data.length, usage.tokens, truncated.length], [0, 0, 0, 0])
})

test.serial('the caller may change the array while the call runs', async (t) => {
  const texts = Array.from({ length: 200_000 }, (_, i) => `text ${i}`)
  const call = embedBatch(texts, { model })
  texts.fill('changed')
  await call
  t.false(lastCall().text.includes('changed'))
})

test.serial('progress comes at most ten times a second, and reaches its end', async (t) => {
  const seen: EmbeddingProgress[] = []
  await embed('a', { model: 'chatty', onProgress: (event) => seen.push(event) })
  t.true(seen.length >= 2 && seen.length <= 4, `${seen.length} events`)
  t.like(seen.at(-1), { status: 'embedding', done: 1000, total: 1000 })
})

test.serial('an error in the progress callback goes nowhere', async (t) => {
  await t.notThrowsAsync(
    embed('a', {
      model: 'chatty',
      onProgress() {
        throw new Error('mine')
      },
    }),
  )
})

test.serial('the logger hears of loading, and its errors go nowhere', async (t) => {
  const heard: string[] = []
  const logger = { info: (message: string) => void heard.push(message), debug() {}, warn() {} }
  await new EmbeddingEngine({ logger }).embed('a', { model: 'loads' })
  t.deepEqual(heard, ['loads is ready on fake'])
  logger.info = () => {
    throw new Error('mine')
  }
  await t.notThrowsAsync(new EmbeddingEngine({ logger }).embed('a', { model: 'loads' }))
})

test.serial('errors of the core keep code, message and details', async (t) => {
  const error = await rejectsWith(t, embedBatch(['a', 'BAD'], { model }), 'EMPTY_TEXT', 'Text 1 has no content')
  t.deepEqual(error.details, { index: 1 })
  t.is(error.name, 'EmbeddingError')
})

test.serial('an error of another form is INTERNAL, with its cause', async (t) => {
  const error = await rejectsWith(t, embed('a', { model: 'garbled' }), 'INTERNAL', 'not JSON at all', 'report')
  t.is((error.cause as Error).message, 'not JSON at all')
})

test.serial('preload tells of every model that failed', async (t) => {
  t.is((await preloadModels('fake')).length, 1)
  t.is((await preloadModels(['fake', 'other'])).length, 2)
  await rejectsWith(t, preloadModels('missing-a'), 'MODEL_NOT_FOUND', /^There is no missing-a\.$/)
  const error = await rejectsWith(
    t,
    preloadModels(['missing-a', 'fake', 'missing-b']),
    'MODEL_NOT_FOUND',
    '2 of 3',
    'missing-a',
    'missing-b',
  )
  t.deepEqual(
    (error.details.failures as { model: string }[]).map((failure) => failure.model),
    ['missing-a', 'missing-b'],
  )
})

test.serial('a disposed engine ends running calls and refuses new ones', async (t) => {
  const engine = new EmbeddingEngine()
  core.hold()
  const calls = core.calls.length
  const ended = rejectsWith(t, engine.embed('a', { model }), 'DISPOSED')
  await untilCalls(calls + 1)
  await engine.dispose()
  await ended
  await rejectsWith(t, engine.embed('a', { model }), 'DISPOSED', 'new EmbeddingEngine()')
  await t.notThrowsAsync(engine.dispose(), 'disposing again is no error')
  await t.notThrowsAsync(new EmbeddingEngine().dispose(), 'nor is it before the first call')
})

test.serial('await using disposes', async (t) => {
  let kept: EmbeddingEngine
  {
    await using engine = new EmbeddingEngine()
    await engine.embed('a', { model })
    kept = engine
  }
  await rejectsWith(t, kept.embed('a', { model }), 'DISPOSED')
})

test.serial('devices are listed', async (t) => {
  t.like(listDevices()[0], { id: 'cpu', available: true })
})

test.serial('a download tells of each file, and what is for the log goes there', async (t) => {
  const warnings: string[] = []
  const logger = { debug() {}, info() {}, warn: (text: string) => void warnings.push(text) }
  await using engine = new EmbeddingEngine({ logger })
  const events: EmbeddingProgress[] = []
  await engine.embed('a', { model: 'fetched', onProgress: (event) => void events.push(event) })
  // Steps are never held back, however many there are at once.
  t.is(events.filter(({ status }) => status === 'initiate').length, 50)
  t.is(events.filter(({ status }) => status === 'done').length, 50)
  t.deepEqual(warnings, ['the licence'])
  await engine.embed('a', { model: 'fetched' })
  t.is(warnings.length, 2, 'without a listener as well')
})
