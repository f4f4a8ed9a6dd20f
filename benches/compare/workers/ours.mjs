// This checkout, through its public TypeScript API as its users call it: one embedBatch over all texts.
import { existsSync } from 'node:fs'

import { Unavailable, serve } from './serve.mjs'

const PRECISIONS = { f32: 'float32', bf16: 'bfloat16', int8: 'int8' }
const entry = new URL('../../../dist/index.js', import.meta.url)

await serve(async ({ model, threads, precision }) => {
  if (!existsSync(entry)) throw new Unavailable('not built', 'There is no dist/index.js.', 'node scripts/setup.mjs')
  const { EmbeddingEngine, version } = await import(entry)
  const engine = new EmbeddingEngine({ device: 'cpu', dtype: PRECISIONS[precision], threads, offline: true })
  const options = { model, prompt: false, truncate: false }
  const [info] = await engine.preload(model)
  return {
    info: {
      versions: { 'embedding-engine': version, node: process.versions.node },
      notes: `${info.backend}, ${info.dtype}, ${info.pooling}, ${info.attention}`,
      limit: info.maxTokens,
    },
    encode: async (texts) => (await engine.embedBatch(texts, options)).embeddings,
    count: async (texts) => engine.countTokens(texts, { model, prompt: false }),
  }
})
