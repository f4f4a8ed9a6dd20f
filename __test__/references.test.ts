// Our vectors against those of sentence-transformers, transformers and onnxruntime, for every test model.
import test from 'ava'
import { EmbeddingEngine } from 'embedding-engine'
import type { CallOptions } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { decodeFloats, model, reference, referenceNames, texts, unitLength } from './helpers/models.ts'
import type { Reference, ReferenceCase } from './helpers/models.ts'
import { TOLERANCE, cosine, largestDifference } from './helpers/tolerance.ts'

const engine = new EmbeddingEngine({ device: 'cpu', dtype: 'float32' })
test.after.always(() => engine.dispose())

/** Poolings that join several vectors: their folders are refused, and say so. */
const UNSUPPORTED = new Set(['pool-concat', 'pool-list'])

/** The cases of a reference by the options of their call. */
function byCall({ cases }: Reference): Map<CallOptions, ReferenceCase[]> {
  const groups = new Map<string, ReferenceCase[]>()
  for (const item of cases) {
    const key = JSON.stringify(item.call)
    groups.set(key, [...(groups.get(key) ?? []), item])
  }
  return new Map([...groups].map(([key, items]) => [JSON.parse(key) as CallOptions, items]))
}

for (const name of referenceNames()) {
  const expected = reference(name)

  if (UNSUPPORTED.has(name)) {
    test(`${name} is refused`, async (t) => {
      await rejectsWith(t, engine.embed('a', { model: model(name) }), 'MODEL_UNSUPPORTED', /pooling/i)
    })
    continue
  }

  test(`${name}: vectors, tokens and cuts`, async (t) => {
    let worst = 0
    for (const [call, cases] of byCall(expected)) {
      const batch = await engine.embedBatch(
        cases.map(({ text }) => texts[text]!),
        { ...call, model: model(name) },
      )
      for (const [i, { text, tokens, truncated, vector }] of cases.entries()) {
        const what = `${text} ${JSON.stringify(call)}`
        t.is(batch.usage.tokensPerText[i], tokens, what)
        t.is(batch.truncated[i], truncated, what)
        const difference = largestDifference(batch.embeddings[i]!, decodeFloats(vector))
        const allowed = Math.max(tokens > TOLERANCE.longTokens ? TOLERANCE.f32Long : TOLERANCE.f32, expected.tolerance)
        t.true(difference <= allowed, `${what}: differs by ${difference}`)
        worst = Math.max(worst, difference)
      }
    }
    t.log(`largest difference ${worst.toExponential(1)}`)
  })

  test(`${name}: token counts before any cut`, async (t) => {
    for (const [call, cases] of byCall(expected)) {
      const whole = cases.filter(({ truncated }) => !truncated)
      const counts = await engine.countTokens(
        whole.map(({ text }) => texts[text]!),
        { ...call, model: model(name) },
      )
      t.deepEqual(
        counts,
        whole.map(({ tokens }) => tokens),
        JSON.stringify(call),
      )
      for (const { text, tokens } of cases.filter(({ truncated }) => truncated).slice(0, 1)) {
        t.true((await engine.countTokens(texts[text]!, { ...call, model: model(name) })) > tokens)
      }
    }
  })

  if (expected.cases.some(({ norm }) => norm !== undefined)) {
    test(`${name}: length without normalising`, async (t) => {
      for (const { text, call, norm, vector } of expected.cases.filter((item) => item.norm !== undefined).slice(0, 5)) {
        const { embedding } = await engine.embed(texts[text]!, { ...call, model: model(name), normalize: false })
        const length = Math.hypot(...embedding)
        t.true(Math.abs(length - norm!) / norm! < 1e-4, `${text}: ${length}, not ${norm}`)
        t.true(
          largestDifference(unitLength(embedding), decodeFloats(vector)) <=
            Math.max(TOLERANCE.f32Long, expected.tolerance),
          text,
        )
      }
    })
  }

  if (expected.quantized) {
    test(`${name}: every precision`, async (t) => {
      for (const { text, ...quantized } of expected.quantized!) {
        for (const [precision, base64] of Object.entries(quantized)) {
          const { embedding, dimensions } = await engine.embed(texts[text]!, {
            model: model(name),
            precision: precision as 'int8',
          })
          const bytes = Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength)
          t.is(bytes.toString('base64'), base64, `${text} as ${precision}`)
          t.is(embedding.constructor, precision === 'int8' || precision === 'binary' ? Int8Array : Uint8Array)
          t.is(dimensions, expected.dims)
        }
      }
    })
  }

  if (expected.late) {
    test(`${name}: late chunking`, async (t) => {
      for (const { document, call, chunks } of expected.late!) {
        const result = await engine.embedChunks(document, chunks, { ...call, model: model(name) })
        t.is(result.embeddings.length, chunks.length)
        for (const [i, { start, end, vector }] of chunks.entries()) {
          const difference = largestDifference(result.embeddings[i]!, decodeFloats(vector))
          t.true(
            difference <= TOLERANCE.f32,
            `${JSON.stringify(call)}, chunk ${start} to ${end}: differs by ${difference}`,
          )
        }
      }
    })
  }
}

for (const name of ['qodo-tiny', 'qwen3-tiny', 'bert-mean', 'roberta-mean']) {
  test(`${name} with bf16 weights points the same way`, async (t) => {
    await using halved = new EmbeddingEngine({ device: 'cpu', dtype: 'bfloat16' })
    let least = 1
    for (const [call, cases] of byCall(reference(name))) {
      const short = cases.filter(({ tokens }) => tokens <= 1000)
      const batch = await halved.embedBatch(
        short.map(({ text }) => texts[text]!),
        { ...call, model: model(name) },
      )
      t.is(batch.model.dtype, 'bfloat16')
      for (const [i, { text, vector }] of short.entries()) {
        const similarity = cosine(batch.embeddings[i]!, decodeFloats(vector))
        t.true(similarity >= TOLERANCE.bf16Cosine, `${text}: ${similarity}`)
        least = Math.min(least, similarity)
      }
    }
    t.log(`smallest cosine ${least}`)
  })
}
