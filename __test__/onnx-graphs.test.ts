// Qwen and BERT folders in ONNX Runtime: graphs that are written when the model is loaded.
import test from 'ava'
import { EmbeddingEngine, EmbeddingError } from 'embedding-engine'

import { model, texts } from './helpers/models.ts'
import { TOLERANCE, largestDifference } from './helpers/tolerance.ts'

const TEXTS = [
  'fn main() {}',
  'two words',
  Object.values(texts)
    .find((text) => text.length > 200)!
    .slice(0, 2000),
  'x',
]

for (const name of ['qwen3-tiny', 'qodo-tiny', 'bert-dense', 'roberta-mean']) {
  test(`${name}: backend 'onnx' gives the vectors and the space of Candle`, async (t) => {
    const folder = model(name)
    const onnx = new EmbeddingEngine({
      device: 'cpu',
      dtype: 'float32',
      modelDefaults: { [folder]: { backend: 'onnx' } },
    })
    const candle = new EmbeddingEngine({ device: 'cpu', dtype: 'float32' })
    const found = await onnx.embedBatch(TEXTS, { model: folder })
    const expected = await candle.embedBatch(TEXTS, { model: folder })
    t.deepEqual([found.model.backend, expected.model.backend], ['onnx', 'candle'])
    t.is(found.model.device, 'cpu')
    t.is(found.space, expected.space)
    t.deepEqual(found.usage, expected.usage)
    for (const [i, row] of found.embeddings.entries()) {
      const difference = largestDifference(row, expected.embeddings[i]!)
      t.true(difference <= TOLERANCE.f32, `text ${i}: ${difference}`)
    }
    await Promise.all([onnx.dispose(), candle.dispose()])
  })
}

test('a device of ONNX Runtime runs a Qwen folder, or says why it cannot', async (t) => {
  const engine = new EmbeddingEngine({ device: 'migraphx' })
  try {
    const { model: used } = await engine.embed('x', { model: model('qwen3-tiny') })
    t.deepEqual([used.backend, used.device], ['onnx', 'migraphx'])
  } catch (error) {
    t.true(error instanceof EmbeddingError)
    const { code, details } = error as EmbeddingError
    t.is(code, 'DEVICE_UNAVAILABLE')
    const [attempt] = details.attempts as { device: string; reason: string }[]
    t.is(attempt?.device, 'migraphx')
    t.regex(attempt?.reason ?? '', /MIGraphX/)
  }
  await engine.dispose()
})
