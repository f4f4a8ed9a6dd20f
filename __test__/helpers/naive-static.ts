// A static model computed the slow and plain way, from its files: what the core must agree with.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

interface TokenizerFile {
  normalizer: { normalizers: { type: string; pattern?: { Regex?: string; String?: string }; content?: string }[] }
  pre_tokenizer: { pretokenizers: { type: string; pattern?: { Regex: string } }[] }
  model: { vocab: Record<string, number>; merges: string[] }
}

/** The vector of a text in float64, at unit length, cut to `dimensions`. */
export class NaiveStatic {
  readonly #tokenizer: TokenizerFile
  readonly #ranks: Map<string, number>
  readonly #codes: Int8Array
  readonly #scales: Float32Array
  readonly width: number

  constructor(folder: string) {
    this.#tokenizer = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')) as TokenizerFile
    this.#ranks = new Map(this.#tokenizer.model.merges.map((merge, rank) => [merge, rank]))
    const file = readFileSync(join(folder, 'model.safetensors'))
    const length = Number(file.readBigUInt64LE(0))
    const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
      string,
      { shape: number[]; data_offsets: [number, number] }
    >
    const bytes = (name: string): Uint8Array<ArrayBuffer> => {
      const [start, end] = header[name]!.data_offsets
      return new Uint8Array(file.subarray(8 + length + start, 8 + length + end))
    }
    this.#codes = new Int8Array(bytes('embedding.weight').buffer)
    this.#scales = new Float32Array(bytes('embedding.scale').buffer)
    this.width = header['embedding.weight']!.shape[1]!
  }

  ids(text: string): number[] {
    let normal = text
    for (const { type, pattern, content } of this.#tokenizer.normalizer.normalizers) {
      if (type === 'Lowercase') normal = Array.from(normal, (c) => c.toLowerCase()).join('')
      else if (pattern?.Regex !== undefined) normal = normal.replaceAll(new RegExp(pattern.Regex, 'gu'), content!)
      else normal = normal.replaceAll(pattern!.String!, content!)
    }
    // Set operations inside a class are written otherwise in JavaScript.
    const split = this.#tokenizer.pre_tokenizer.pretokenizers[0]!.pattern!.Regex.replace(
      String.raw`[\p{N}&&[^\p{Alphabetic}]]`,
      String.raw`(?:(?!\p{Alphabetic})\p{N})`,
    )
    return Array.from(normal.matchAll(new RegExp(split, 'gu')), ([piece]) => this.#encode(piece)).flat()
  }

  #encode(piece: string): number[] {
    const vocab = this.#tokenizer.model.vocab
    let symbols = Array.from(new TextEncoder().encode(piece), byteLevel)
    const whole = vocab[symbols.join('')]
    if (whole !== undefined) return [whole]
    for (;;) {
      let best = -1
      let rank = Infinity
      for (let i = 0; i + 1 < symbols.length; i++) {
        const found = this.#ranks.get(`${symbols[i]} ${symbols[i + 1]}`) ?? Infinity
        if (found < rank) [best, rank] = [i, found]
      }
      if (best < 0) return symbols.map((symbol) => vocab[symbol]!)
      symbols = [...symbols.slice(0, best), symbols[best]! + symbols[best + 1]!, ...symbols.slice(best + 2)]
    }
  }

  embed(text: string, dimensions = this.width): number[] {
    const sum = Array.from({ length: dimensions }, () => 0)
    for (const id of this.ids(text)) {
      for (let i = 0; i < dimensions; i++) sum[i]! += this.#codes[id * this.width + i]! * this.#scales[id]!
    }
    const norm = Math.hypot(...sum)
    return sum.map((value) => value / norm)
  }
}

/** GPT-2's characters for bytes. */
function byteLevel(byte: number): string {
  const printable = (b: number): boolean => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae
  if (printable(byte)) return String.fromCharCode(byte)
  let before = 0
  for (let b = 0; b < byte; b++) if (!printable(b)) before++
  return String.fromCharCode(0x100 + before)
}
