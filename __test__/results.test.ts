// What results say about themselves, and what the options of a call do, on the real core.
import test from 'ava'
import { EmbeddingEngine, listDevices, listModels } from 'embedding-engine'
import type { EmbeddingError, EmbeddingProgress } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { model, texts } from './helpers/models.ts'
import { TOLERANCE, cosine, largestDifference } from './helpers/tolerance.ts'

const engine = new EmbeddingEngine({ device: 'cpu', dtype: 'float32' })
test.after.always(() => engine.dispose())

test('a result names its model as it is really used', async (t) => {
  const path = model('qwen3-tiny')
  const { model: used, space, dimensions, usage, truncated } = await engine.embed('Hello', { model: path })
  t.like(used, {
    id: path,
    revision: null,
    adapter: null,
    backend: 'candle',
    device: 'cpu',
    dtype: 'float32',
    pooling: 'lasttoken',
    attention: 'causal',
    maxTokens: 32768,
    license: null,
  })
  t.is(typeof space, 'string')
  t.true(space.length > 4 && space.length < 100)
  t.is(truncated, false)
  t.true(usage.tokens > 1)
  const { embedding } = await engine.embed('Hello', { model: path })
  t.is(embedding.length, dimensions)
})

test('by itself a CPU takes bf16 where it multiplies that, and says so', async (t) => {
  const { features } = listDevices().find(({ id }) => id === 'cpu')!.details as { features: string[] }
  const halved = features.includes('avx512bf16')
  await using own = new EmbeddingEngine()
  const options = { model: model('qwen3-tiny') }
  const { embedding, model: used, space } = await own.embed('Hello', options)
  t.is(used.dtype, halved ? 'bfloat16' : 'float32')
  const exact = await engine.embed('Hello', options)
  t.is(space, exact.space)
  t.true(cosine(embedding, exact.embedding) >= TOLERANCE.bf16Cosine)
})

test('a vector owns its memory', async (t) => {
  const { embedding } = await engine.embed('Hello', { model: model('bert-mean') })
  t.is(embedding.byteLength, embedding.buffer.byteLength)
})

test('no texts give an empty result that still says what it is', async (t) => {
  const empty = await engine.embedBatch([], { model: model('bert-mean') })
  const one = await engine.embedBatch(['a'], { model: model('bert-mean') })
  t.is(empty.embeddings.length, 0)
  t.is(empty.data.length, 0)
  t.is(empty.usage.tokens, 0)
  t.is(empty.space, one.space)
  t.is(empty.dimensions, one.dimensions)
})

test('a text without content is told by its index, before anything is computed', async (t) => {
  for (const [index, batch] of [
    [0, ['']],
    [2, ['a', 'b', '', 'd', '']],
  ] as const) {
    const error = await rejectsWith(t, engine.embedBatch(batch, { model: model('bert-mean') }), 'EMPTY_TEXT')
    t.is(error.details.index, index)
  }
})

test('dimensions cut and normalise again; others than the declared ones are refused', async (t) => {
  const options = { model: model('matryoshka') }
  const whole = await engine.embed('Hello', options)
  const cut = await engine.embed('Hello', { ...options, dimensions: 32 })
  t.is(cut.embedding.length, 32)
  t.is(cut.dimensions, 32)
  t.true(Math.abs(Math.hypot(...cut.embedding) - 1) < 1e-5)
  const length = Math.hypot(...whole.embedding.subarray(0, 32))
  t.true(
    largestDifference(
      cut.embedding,
      whole.embedding.subarray(0, 32).map((x) => x / length),
    ) < TOLERANCE.f32,
  )
  t.not(cut.space, whole.space)
  await rejectsWith(t, engine.embed('Hello', { ...options, dimensions: 31 }), 'INVALID_OPTION', '31', /\b32\b/)
  await rejectsWith(t, engine.embed('Hello', { model: model('bert-mean'), dimensions: 32 }), 'INVALID_OPTION', '32')
})

test('modelDefaults declare dimensions, causality and limits', async (t) => {
  const path = model('bert-mean')
  await using own = new EmbeddingEngine({
    device: 'cpu',
    modelDefaults: { [path]: { dimensions: [16, 32], maxTokens: 16 } },
  })
  const { embedding } = await own.embed('Hello', { model: path, dimensions: 16 })
  t.is(embedding.length, 16)
  const { truncated, usage, model: used } = await own.embed('word '.repeat(100), { model: path })
  t.deepEqual([truncated, usage.tokens, used.maxTokens], [true, 16, 16])

  const qwen = model('qwen3-tiny')
  await using bidirectional = new EmbeddingEngine({ device: 'cpu', modelDefaults: { [qwen]: { causal: false } } })
  const changed = await bidirectional.embed('Hello there', { model: qwen })
  t.is(changed.model.attention, 'bidirectional')
  t.not(changed.space, (await engine.embed('Hello there', { model: qwen })).space)
})

test('tasks, prompts and spaces', async (t) => {
  const options = { model: model('xlmr-e5') }
  const asDocument = await engine.embed('Hello', options)
  const asQuery = await engine.embed('Hello', { ...options, task: 'query' })
  t.true(largestDifference(asDocument.embedding, asQuery.embedding) > 1e-3)
  t.is(asDocument.space, asQuery.space, 'documents and queries are made to be compared')
  t.not((await engine.embed('Hello', { ...options, task: 'similarity' })).space, asQuery.space)

  const byHand = await engine.embed('query: Hello', { ...options, prompt: false })
  t.true(largestDifference(byHand.embedding, asQuery.embedding) < TOLERANCE.f32)
  const own = await engine.embed('Hello', { ...options, prompt: 'query: ' })
  t.true(largestDifference(own.embedding, asQuery.embedding) < TOLERANCE.f32)
})

test('a space that was asked for is kept, or SPACE_MISMATCH', async (t) => {
  const options = { model: model('bert-mean') }
  const { space } = await engine.embed('Hello', options)
  await t.notThrowsAsync(engine.embed('Hello', { ...options, task: 'query', space }))
  await rejectsWith(t, engine.embed('Hello', { ...options, normalize: false, space }), 'SPACE_MISMATCH', space)
})

test('a text over the limit is cut and flagged, or refused with its place', async (t) => {
  const options = { model: model('bert-mean') }
  const long = texts.long_600 ?? 'some words '.repeat(500)
  const { truncated, usage } = await engine.embedBatch(['short', long], options)
  t.deepEqual(truncated, [false, true])
  t.is(usage.tokensPerText[1], 256)
  const error = await rejectsWith(
    t,
    engine.embedBatch(['short', long], { ...options, truncate: false }),
    'TEXT_TOO_LONG',
    '256',
  )
  t.like(error.details, { index: 1, limit: 256 })
  t.is(error.details.tokens, await engine.countTokens(long, options))
})

test('late chunking needs a model that pools by mean', async (t) => {
  await rejectsWith(
    t,
    engine.embedChunks('a b c', [{ start: 0, end: 1 }], { model: model('qwen3-tiny') }),
    'MODEL_UNSUPPORTED',
    /pool/i,
  )
})

test('progress tells of loading, readiness and texts', async (t) => {
  await using own = new EmbeddingEngine({ device: 'cpu' })
  const seen: EmbeddingProgress[] = []
  const path = model('bert-mean')
  await own.embedBatch(['a', 'b', 'c'], { model: path, onProgress: (event) => seen.push(event) })
  t.deepEqual(
    seen.map(({ status }) => status),
    ['loading', 'ready', 'embedding'],
  )
  t.like(seen[0], { model: path })
  t.like(seen[1], { model: path, device: 'cpu' })
  t.like(seen.at(-1), { done: 3, total: 3, etaSeconds: 0 })
})

test('a device that cannot be used is refused with every attempt', async (t) => {
  const unusable = listDevices().find(({ available }) => !available)
  t.truthy(unusable)
  await using own = new EmbeddingEngine({ device: unusable!.id })
  await rejectsWith(t, own.embed('a', { model: model('bert-mean') }), 'DEVICE_UNAVAILABLE', unusable!.kind)
})

test('a full queue fails at once; a call alone never fills it, and a stream waits', async (t) => {
  const path = model('bert-mean')
  await using own = new EmbeddingEngine({ device: 'cpu', maxQueuedTokens: 100 })
  const batch = Array.from({ length: 1000 }, (_, i) => `some words and ${i}`)
  // The job waits for its model, and so fills the queue, once the model is being loaded.
  let job: Promise<{ embeddings: unknown[] }> | undefined
  await new Promise<unknown>((onProgress) => (job = own.embedBatch(batch, { model: path, onProgress })))
  const refused = await own.embedBatch(batch, { model: path }).then(
    () => undefined,
    (error: EmbeddingError) => error,
  )
  t.is(refused?.code, 'QUEUE_FULL', refused?.message)
  t.true(refused?.message.includes('100'))
  let streamed = 0
  for await (const { embeddings } of own.embedStream(batch, { model: path })) streamed += embeddings.length
  t.is(streamed, 1000)
  t.is((await job)?.embeddings.length, 1000)
})

test('a number format that a model cannot have is refused, not ignored', async (t) => {
  await using half = new EmbeddingEngine({ device: 'cpu', dtype: 'bfloat16' })
  await rejectsWith(t, half.embed('a', { model: model('onnx-bert') }), 'INVALID_OPTION', 'bfloat16')
  t.is((await half.embed('a', { model: model('bert-mean') })).model.dtype, 'bfloat16')
  await using whole = new EmbeddingEngine({ device: 'cpu', dtype: 'float32' })
  t.is((await whole.embed('a', { model: model('onnx-bert') })).model.dtype, 'float32')
})

test('devices: the CPU is there, with its features', async (t) => {
  const cpu = listDevices().find(({ id }) => id === 'cpu')
  t.like(cpu, { kind: 'cpu', available: true })
  for (const { available, reason } of listDevices()) t.is(available, reason === undefined)
})

test('models: the known ones with their names and licences', async (t) => {
  const models = listModels()
  const code = models.find(({ aliases }) => aliases.includes('code'))
  t.is(code?.id, 'Qodo/Qodo-Embed-1-1.5B')
  t.truthy(code?.license?.name)
  t.is(models.find(({ aliases }) => aliases.includes('text'))?.id, 'jinaai/jina-embeddings-v3')
})
