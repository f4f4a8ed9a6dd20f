// What must hold for any texts, tried with random ones.
import test from 'ava'
import fc from 'fast-check'
import { EmbeddingEngine, EmbeddingError } from 'embedding-engine'

import { model } from './helpers/models.ts'
import { TOLERANCE, largestDifference } from './helpers/tolerance.ts'

const engine = new EmbeddingEngine({ device: 'cpu' })
test.after.always(() => engine.dispose())

/** One model of each backend and family. */
const MODELS = ['qwen3-tiny', 'bert-mean', 'onnx-jina']

/** Texts of very different lengths and scripts, none without content. */
const text = fc
  .oneof(
    { weight: 4, arbitrary: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }) },
    { weight: 2, arbitrary: fc.lorem({ maxCount: 120 }) },
    { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 20, unit: 'binary' }) },
  )
  .map((generated) => `x${generated}`)
const batch = fc.array(text, { minLength: 1, maxLength: 12 })

for (const name of MODELS) {
  test(`${name}: alone, in any batch and permuted, a text has the same vector`, async (t) => {
    const options = { model: model(name) }
    await fc.assert(
      fc.asyncProperty(batch, fc.integer(), async (texts, seed) => {
        const together = await engine.embedBatch(texts, options)
        t.is(together.embeddings.length, texts.length)
        t.is(together.truncated.length, texts.length)
        t.is(together.usage.tokensPerText.length, texts.length)
        t.is(
          together.usage.tokens,
          together.usage.tokensPerText.reduce((sum, tokens) => sum + tokens, 0),
        )

        const order = texts.map((_, i) => i).sort((a, b) => Math.imul(a + 1, seed | 1) - Math.imul(b + 1, seed | 1))
        const permuted = await engine.embedBatch(
          order.map((i) => texts[i]!),
          options,
        )
        const alone = await Promise.all(texts.map(async (item) => engine.embed(item, options)))
        for (const [place, i] of order.entries()) {
          const row = together.embeddings[i]!
          t.true(largestDifference(row, permuted.embeddings[place]!) <= TOLERANCE.f32, JSON.stringify(texts))
          t.true(largestDifference(row, alone[i]!.embedding) <= TOLERANCE.f32, JSON.stringify(texts))
          t.is(alone[i]!.usage.tokens, together.usage.tokensPerText[i]!)
          t.true(Math.abs(Math.hypot(...row) - 1) < 1e-5)
        }
      }),
      { numRuns: 12 },
    )
  })

  test(`${name}: any string gives a finite vector or a coded error`, async (t) => {
    const any = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) }),
      fc.constantFrom('', ' ', '\n', '\u0000', '\ufeff', '\ud800'),
    )
    await fc.assert(
      fc.asyncProperty(any, async (anything) => {
        try {
          const { embedding } = await engine.embed(anything, { model: model(name) })
          t.true(embedding.every(Number.isFinite))
        } catch (error) {
          if (!(error instanceof EmbeddingError) || error.code !== 'EMPTY_TEXT') throw error
        }
      }),
      { numRuns: 40 },
    )
  })
}

test('a stream gives what a batch gives', async (t) => {
  const options = { model: model('bert-mean') }
  await fc.assert(
    fc.asyncProperty(batch, fc.integer({ min: 1, max: 5 }), async (texts, batchSize) => {
      const together = await engine.embedBatch(texts, options)
      let seen = 0
      for await (const { offset, embeddings } of engine.embedStream(texts, { ...options, batchSize })) {
        t.is(offset, seen)
        for (const row of embeddings) t.true(largestDifference(row, together.embeddings[seen++]!) <= TOLERANCE.f32)
      }
      t.is(seen, texts.length)
    }),
    { numRuns: 10 },
  )
})
