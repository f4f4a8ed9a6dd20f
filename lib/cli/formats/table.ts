import type { Format } from './format.ts'

/** For people: what computed, then a line for each text with the first components of its vector. */
export const table: Format = (sink) => {
  let started = false
  return {
    async write(part, inputs) {
      if (!started) {
        const { id, device, dtype } = part.model
        await sink.write(`${id} on ${device} (${dtype}), ${part.dimensions} dimensions, space ${part.space}\n`)
        await sink.write(`${'#'.padStart(6)} ${'tokens'.padStart(7)}  ${'vector'.padEnd(36)}  text\n`)
        started = true
      }
      for (const [i, { text, file }] of inputs.entries()) {
        const first = Array.from(part.embeddings[i]!.subarray(0, 4), (x) =>
          Number.isInteger(x) ? `${x}` : x.toFixed(4),
        )
        const vector = `[${first.map((x) => x.padStart(7)).join(' ')} …]`
        const tokens = `${part.usage.tokensPerText[i]}${part.truncated[i] ? '!' : ''}`
        const label = (file ?? text.replaceAll(/\s+/g, ' ')).slice(0, 60)
        await sink.write(
          `${String(part.offset + i).padStart(6)} ${tokens.padStart(7)}  ${vector.padEnd(36)}  ${label}\n`,
        )
      }
      if (part.truncated.includes(true)) await sink.write(`! was cut at ${part.model.maxTokens} tokens\n`)
    },
    async end() {},
  }
}
