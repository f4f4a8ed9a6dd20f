// The model that comes with the package: the first call needs neither a model's name nor a network.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'
import { EmbeddingEngine, countTokens, embed, embedBatch, embedChunks, listModels, similarity } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { NaiveStatic } from './helpers/naive-static.ts'
import { ROOT, runCli } from './helpers/process.ts'

const naive = new NaiveStatic(join(ROOT, 'models/bundled'))

const TEXTS = [
  'function parseHTTPResponse_v2(text) { return JSON.parse(text) }',
  'where are retries handled',
  'größe NAÏVE 日本語 🦀 e\u0301 Ⅷ',
  '!= => :: == /* */',
  'x'.repeat(500),
  'a',
]

/** Sums of some hundred rows in f32, and the division. */
const TOLERANCE = 2e-6

test('the first call gives good vectors, with no model named and no network', async (t) => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'embedding-engine-nothing-'))
  t.teardown(() => rmSync(cacheDir, { recursive: true }))
  await using own = new EmbeddingEngine({ cacheDir, home: cacheDir, offline: true })
  const { model, dimensions } = await own.embed('hello')
  t.like(model, { id: 'bundled', backend: 'static', device: 'cpu', dtype: 'int8', pooling: 'mean', revision: null })
  t.is(model.license?.name.toLowerCase(), 'mit')
  t.is(dimensions, 384)

  const documents = [
    'async function fetchWithRetry(url, attempts) { for (let i = 0; i < attempts; i++) try { return await fetch(url) } catch { await sleep(2 ** i) } }',
    'def parse_date(text): return datetime.strptime(text, "%Y-%m-%d")',
    'fn matmul(a: &Matrix, b: &Matrix) -> Matrix { a.rows().map(|row| b.columns().map(|c| dot(row, c))) }',
  ]
  const ask = async (query: string): Promise<number> => {
    const { embedding } = await own.embed(query, { task: 'query' })
    const { embeddings } = await own.embedBatch(documents)
    const scores = embeddings.map((document) => similarity(embedding, document))
    return scores.indexOf(Math.max(...scores))
  }
  t.is(await ask('try a request again when it fails'), 0)
  t.is(await ask('read a day from a string'), 1)
  t.is(await ask('multiply two matrices'), 2)
})

test('vectors are those of the plain computation from the files', async (t) => {
  const { embeddings, usage } = await embedBatch(TEXTS)
  for (const [i, text] of TEXTS.entries()) {
    t.is(usage.tokensPerText[i], naive.ids(text).length, text)
    const expected = naive.embed(text)
    const difference = Math.max(...expected.map((value, at) => Math.abs(value - embeddings[i]![at]!)))
    t.true(difference < TOLERANCE, `${difference} for ${text}`)
    const alone = await embed(text)
    t.deepEqual(alone.embedding, embeddings[i], 'alone and in a batch')
  }
  t.is(await countTokens(TEXTS[0]!), naive.ids(TEXTS[0]!).length)
})

test('vectors can be cut', async (t) => {
  for (const dimensions of [96, 192] as const) {
    const { embedding } = await embed(TEXTS[0]!, { dimensions })
    const expected = naive.embed(TEXTS[0]!, dimensions)
    t.true(expected.every((value, at) => Math.abs(value - embedding[at]!) < TOLERANCE))
  }
  await rejectsWith(t, embed('a', { dimensions: 100 }), 'INVALID_OPTION', '96', '192', '384')
})

test('parts of a document are the means of their own tokens', async (t) => {
  const document = 'first part of it. Second part.'
  const { embeddings } = await embedChunks(document, [
    { start: 0, end: 17 },
    { start: 17, end: document.length },
  ])
  const expected = naive.embed(document.slice(17))
  t.true(expected.every((value, at) => Math.abs(value - embeddings[1]![at]!) < TOLERANCE))
})

test('all of its space is one, whatever asks; queries and documents share it', async (t) => {
  const space = async (options = {}): Promise<string> => (await embed('a', options)).space
  t.is(await space(), await space({ model: 'bundled', task: 'query' }))
  t.is(await space(), await space({ model: join(ROOT, 'models/bundled') }))
  t.not(await space(), await space({ task: 'clustering' }))
  t.not(await space(), await space({ dimensions: 96 }))
})

test('texts without a token, and what it is no answer to', async (t) => {
  await rejectsWith(t, embed(' \n'), 'EMPTY_TEXT')
  await rejectsWith(t, embed('__'), 'EMPTY_TEXT')
  await using gpu = new EmbeddingEngine({ device: 'cuda' })
  await rejectsWith(t, gpu.embed('a'), 'DEVICE_UNAVAILABLE')
})

test('it is listed, first', (t) => {
  const [first] = listModels()
  t.like(first, { id: 'bundled', dimensions: 384, matryoshka: [96, 192, 384] })
  t.is(first!.cached?.path, join(ROOT, 'models/bundled'))
  t.true(first!.cached!.bytes < 8_000_000, 'it stays small')
})

test('the command line gives the same vector', async (t) => {
  const { stdout, code, stderr } = await runCli(['embed', TEXTS[0]!])
  t.is(code, 0, stderr)
  const { embedding } = JSON.parse(stdout) as { embedding: number[] }
  const ours = await embed(TEXTS[0]!)
  t.deepEqual(Float32Array.from(embedding), ours.embedding)
})

test('a long minified line is read whole', async (t) => {
  const text = 'var a=function(b){return b.c?"d":e[12]};'.repeat(5000)
  const begin = performance.now()
  const { usage, truncated } = await embed(text)
  t.log(`${text.length} characters, ${usage.tokens} tokens: ${(performance.now() - begin).toFixed(0)} ms`)
  t.is(usage.tokens, 5000 * naive.ids('var a=function(b){return b.c?"d":e[12]};').length)
  t.false(truncated)
})

test('speed of many texts, and of the first', async (t) => {
  await using own = new EmbeddingEngine({ threads: 1 })
  const begin = performance.now()
  await own.embed('hello')
  const first = performance.now() - begin
  const texts = Array.from({ length: 4000 }, (_, i) => `${TEXTS[0]!.repeat(4)} ${i}`)
  const start = performance.now()
  const { usage } = await own.embedBatch(texts)
  const rate = usage.tokens / ((performance.now() - start) / 1000)
  t.log(`first call ${first.toFixed(1)} ms, then ${(rate / 1e6).toFixed(2)} M tokens/s`)
  t.is(
    usage.tokens,
    usage.tokensPerText.reduce((sum, tokens) => sum + tokens, 0),
  )
})
