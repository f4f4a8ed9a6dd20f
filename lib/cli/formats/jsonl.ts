import type { Format } from './format.ts'

/** One JSON object a line: index, text or file, tokens, truncated, model, space, embedding. */
export const jsonl: Format = (sink) => ({
  async write(part, inputs) {
    for (const [i, { text, file }] of inputs.entries()) {
      const line = {
        index: part.offset + i,
        ...(file === undefined ? { text } : { file }),
        tokens: part.usage.tokensPerText[i],
        truncated: part.truncated[i],
        model: part.model.id,
        space: part.space,
        embedding: Array.from(part.embeddings[i]!),
      }
      await sink.write(`${JSON.stringify(line)}\n`)
    }
  },
  async end() {},
})
