import test from 'ava'
import {
  EmbeddingEngine,
  EmbeddingError,
  countTokens,
  embed,
  embedBatch,
  embedChunks,
  embedStream,
  preloadModels,
} from 'embedding-engine'

import { first, rejectsWith } from './helpers/errors.ts'
import { core } from './helpers/fake-core.ts'

// Arguments that TypeScript would refuse already.
// eslint-disable-next-line typescript/no-explicit-any
const any = (value: unknown): any => value

test('a text must be a string', async (t) => {
  await rejectsWith(t, embed(any(42)), 'INVALID_INPUT', 'must be a string, not 42')
  await rejectsWith(t, embed(any(undefined)), 'INVALID_INPUT', 'undefined')
  await rejectsWith(t, embed(any(['a'])), 'INVALID_INPUT', 'an array of 1')
})

test('texts are told by their index', async (t) => {
  const error = await rejectsWith(t, embedBatch(['a', 'b', any(null)]), 'INVALID_INPUT', 'Text 2', 'null')
  t.is(error.details.index, 2)
})

test('texts must be an array, and one string is explained', async (t) => {
  await rejectsWith(
    t,
    embedBatch(any('one text')),
    'INVALID_INPUT',
    'texts must be an array',
    'Put a single one into an array',
  )
  await rejectsWith(t, embedBatch(any({ length: 1 })), 'INVALID_INPUT', 'an object (Object)')
})

test('an unknown option is refused with the nearest name', async (t) => {
  const error = await rejectsWith(
    t,
    embed('a', any({ dimension: 4 })),
    'INVALID_OPTION',
    "no option 'dimension'",
    "'dimensions'",
  )
  t.is(error.details.option, 'dimension')
  await rejectsWith(t, embed('a', any({ zzzzzz: 1 })), 'INVALID_OPTION', 'There are: model, task')
  await rejectsWith(t, embed('a', any({ constructor: 1 })), 'INVALID_OPTION', "no option 'constructor'")
})

test('options must be an object', async (t) => {
  await rejectsWith(t, embed('a', any('code')), 'INVALID_INPUT', 'must be an object')
  await rejectsWith(t, embed('a', any(null)), 'INVALID_INPUT', 'must be an object')
})

const refused: [option: string, value: unknown, word: string][] = [
  ['model', '', 'not empty'],
  ['model', 7, '7'],
  ['task', 'retrieval', "'document', 'query'"],
  ['prompt', true, 'or false for none'],
  ['dimensions', 0, 'above 0'],
  ['dimensions', 2.5, '2.5'],
  ['dimensions', '64', '"64"'],
  ['normalize', 'yes', 'true or false'],
  ['precision', 'float16', "'float32', 'int8'"],
  ['truncate', 1, 'true or false'],
  ['adapter', true, "'auto', false"],
  ['space', '', 'not empty'],
  ['signal', new AbortController(), 'an AbortSignal'],
  ['onProgress', 'log', 'a function'],
]
for (const [option, value, word] of refused) {
  test(`option ${option} refuses ${JSON.stringify(value)}`, async (t) => {
    const error = await rejectsWith(
      t,
      embed('refused', any({ [option]: value })),
      'INVALID_OPTION',
      `'${option}'`,
      word,
    )
    t.is(error.details.option, option)
    t.false(
      core.calls.some(({ text }) => text === 'refused'),
      'nothing reached the core',
    )
  })
}

test('undefined counts as absent', async (t) => {
  await t.notThrowsAsync(embed('a', { model: 'fake', task: undefined, dimensions: undefined, signal: undefined }))
})

const refusedByEngine: [option: string, value: unknown, word: string][] = [
  ['device', 'gpu', "'auto' or one of cpu, cuda"],
  ['device', 'cuda:x', 'cuda:1'],
  ['device', 'cuda:0,', 'cuda:0,1'],
  ['device', 'tensorrt:*', 'cuda:*'],
  ['dtype', 'fp16', "'float16'"],
  ['endpoint', 'ftp://x', 'http or https'],
  ['threads', 0, 'above 0'],
  ['idleUnloadMs', -1, '0 or more'],
  ['memoryLimit', '4GB', 'whole number'],
  ['offline', 'true', 'true or false'],
  ['logger', { info() {} }, 'info, warn and debug'],
  ['modelDefaults', [], 'by model'],
  ['modelDefaults', { './m': { casual: true } }, "Did you mean 'causal'"],
  ['modelDefaults', { './m': { prompts: { search: 'x' } } }, 'document, query'],
  ['modelDefaults', { './m': { dimensions: [0] } }, 'whole numbers above 0'],
]
for (const [option, value, word] of refusedByEngine) {
  test(`engine option ${option} refuses ${JSON.stringify(value)}`, (t) => {
    const error = t.throws(() => new EmbeddingEngine(any({ [option]: value })), { instanceOf: EmbeddingError })
    t.is(error?.code, 'INVALID_OPTION')
    t.true(error?.message.includes(word), error?.message)
  })
}

test('an engine takes every option of the contract', (t) => {
  t.notThrows(
    () =>
      new EmbeddingEngine({
        device: 'cuda:1',
        dtype: 'bfloat16',
        cacheDir: '/c',
        home: '/h',
        endpoint: 'http://127.0.0.1:1',
        token: 't',
        offline: true,
        maxTokensPerBatch: 1,
        memoryLimit: 1,
        maxQueuedTokens: 1,
        idleUnloadMs: 0,
        threads: 1,
        modelDefaults: {
          './m': {
            causal: false,
            pooling: 'mean',
            maxTokens: 8,
            dimensions: [4],
            prompts: { query: 'q: ' },
            backend: 'onnx',
          },
        },
        logger: console,
      }),
  )
})

test('what the core refuses about an engine comes with the first call', async (t) => {
  const engine = new EmbeddingEngine({ threads: 999 })
  await rejectsWith(t, engine.embed('a'), 'INVALID_OPTION', 'threads is too large')
})

test('a stream takes an iterable of strings', async (t) => {
  await rejectsWith(t, first(embedStream('one text')), 'INVALID_INPUT', 'not one string')
  await rejectsWith(t, first(embedStream(any(3))), 'INVALID_INPUT', 'an iterable')
  await rejectsWith(t, first(embedStream(any(undefined))), 'INVALID_INPUT', 'an iterable')
  await rejectsWith(t, first(embedStream([], any({ batchSize: 0 }))), 'INVALID_OPTION', 'batchSize')
  await rejectsWith(t, first(embedStream([], any(null))), 'INVALID_INPUT', 'must be an object')
})

test('a stream tells a bad text by its place in the source', async (t) => {
  const source = [...Array.from({ length: 10 }, () => 'ok'), any(5)]
  const error = await rejectsWith(
    t,
    readAll(embedStream(source, { model: 'fake', batchSize: 4 })),
    'INVALID_INPUT',
    'Text 10',
  )
  t.is(error.details.index, 10)
})

test('chunks must lie inside the document', async (t) => {
  const document = 'abcdef'
  for (const chunk of [
    { start: 0, end: 7 },
    { start: -1, end: 2 },
    { start: 3, end: 3 },
    { start: 4, end: 2 },
    { start: 0.5, end: 2 },
    {},
    null,
    5,
  ]) {
    const error = await rejectsWith(
      t,
      embedChunks(document, [{ start: 0, end: 1 }, any(chunk)]),
      'INVALID_INPUT',
      'Chunk 1',
    )
    t.is(error.details.index, 1)
  }
  await rejectsWith(t, embedChunks(document, any('x')), 'INVALID_INPUT', 'chunks must be an array')
})

test('countTokens takes a text or an array of texts', async (t) => {
  t.is(await countTokens('héé', { model: 'fake' }), 5)
  t.deepEqual(await countTokens(['a', 'bc'], { model: 'fake' }), [1, 2])
  t.deepEqual(await countTokens([], { model: 'fake' }), [])
  await rejectsWith(t, countTokens(any(5)), 'INVALID_INPUT', 'texts must be an array')
  const error = await rejectsWith(t, countTokens(['a', any(5)]), 'INVALID_INPUT', 'Text 1')
  t.is(error.details.index, 1)
})

test('models to preload are told by their index', async (t) => {
  const error = await rejectsWith(t, preloadModels(['fake', any(5)]), 'INVALID_INPUT', 'Model 1')
  t.is(error.details.index, 1)
  await rejectsWith(t, preloadModels('fake', any({ model: 'x' })), 'INVALID_OPTION', "no option 'model'")
})

async function readAll(parts: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of parts);
}
