import type { NativeReport, NativeVectors } from './native/binding.ts'
import type { Precision, VectorOf } from './options.ts'
import { Pacer } from './pace.ts'

/** The licence of a model, as it is shown to users. */
export interface License {
  /** Its SPDX id where there is one. */
  name: string
  /** Where its text stands. */
  link?: string
  /** What a user must know, in one sentence. */
  note?: string
}

/** The model of a result, all as really used. */
export interface ModelInfo {
  /** Hub id, or the path as it was given. */
  id: string
  /** Commit of the hub repository; `null` for a plain folder. */
  revision: string | null
  /** The fine-tune in use, if any. */
  adapter: string | null
  /** What computed. */
  backend: 'candle' | 'onnx' | 'static'
  /** The device, such as `cpu` or `cuda:0`. */
  device: string
  /** Number format of the weights in use. */
  dtype: string
  /** How token vectors became one: `lasttoken`, `mean`, `cls`, … */
  pooling: string
  /** Whether a token sees the tokens after it. */
  attention: 'causal' | 'bidirectional'
  /** The longest text in tokens, prompt and special tokens included. */
  maxTokens: number
  /** The licence, where it is known. */
  license: License | null
}

/** What {@link embed} gives. */
export interface EmbedResult<P extends Precision = Precision> {
  /** The vector. */
  embedding: VectorOf<P>
  /** Components of the vector (bits, for `binary` and `ubinary`). */
  dimensions: number
  /** Tokens that the model read: prompt, text, special and end tokens. */
  usage: { tokens: number }
  /** Whether the text was cut at the model's limit. */
  truncated: boolean
  /** The model, as really used. */
  model: ModelInfo
  /** Equal strings mean comparable vectors. */
  space: string
}

/** What {@link embedBatch} gives. */
export interface BatchResult<P extends Precision = Precision> {
  /** A vector for each text, in order: views into `data`. */
  embeddings: VectorOf<P>[]
  /** All vectors one after another. */
  data: VectorOf<P>
  /** Components of a vector (bits, for `binary` and `ubinary`). */
  dimensions: number
  /** Tokens that the model read: prompt, text, special and end tokens. */
  usage: { tokens: number; tokensPerText: Uint32Array }
  /** For each text, whether it was cut at the model's limit. */
  truncated: boolean[]
  /** The model, as really used. */
  model: ModelInfo
  /** Equal strings mean comparable vectors. */
  space: string
}

/** What {@link embedChunks} gives. */
export interface ChunksResult<P extends Precision = Precision> {
  /** A vector for each chunk, in order: views into `data`. */
  embeddings: VectorOf<P>[]
  /** All vectors one after another. */
  data: VectorOf<P>
  /** Components of a vector (bits, for `binary` and `ubinary`). */
  dimensions: number
  /** Tokens that the model read: prompt, document, special and end tokens. */
  usage: { tokens: number }
  /** Whether the document was cut at the model's limit. */
  truncated: boolean
  /** The model, as really used. */
  model: ModelInfo
  /** Equal strings mean comparable vectors. */
  space: string
}

/** What {@link embedStream} gives, part by part. */
export interface StreamPart<P extends Precision = Precision> extends BatchResult<P> {
  /** The place of the part's first text in the source. */
  offset: number
}

/** The clock is looked at once in this many rows. */
const STRIDE = 256

/** The result of a call with many texts. */
export async function toBatchResult<P extends Precision>(native: NativeVectors): Promise<BatchResult<P>> {
  const { dimensions, tokens, model, space } = reportOf(native)
  const data = native.data as VectorOf<P>
  return {
    embeddings: await rows<P>(data, native.truncated.length),
    data,
    dimensions,
    usage: { tokens, tokensPerText: native.tokensPerText },
    truncated: Array.from(native.truncated, (cut) => cut === 1),
    model,
    space,
  }
}

/** The result of a call with one text: the vector owns its memory. */
export function toEmbedResult<P extends Precision>(native: NativeVectors): EmbedResult<P> {
  const { dimensions, tokens, model, space } = reportOf(native)
  const truncated = native.truncated[0] === 1
  return { embedding: native.data as VectorOf<P>, dimensions, usage: { tokens }, truncated, model, space }
}

/** The result of a call with one document and its chunks. */
export async function toChunksResult<P extends Precision>(
  native: NativeVectors,
  chunks: number,
): Promise<ChunksResult<P>> {
  const { embedding: data, ...rest } = toEmbedResult<P>(native)
  return { embeddings: await rows<P>(data, chunks), data, ...rest }
}

function reportOf(native: NativeVectors): NativeReport & { model: ModelInfo } {
  return JSON.parse(native.report) as NativeReport & { model: ModelInfo }
}

/** Views over equal parts of the data, made in slices of time between which the event loop runs. */
async function rows<P extends Precision>(data: VectorOf<P>, count: number): Promise<VectorOf<P>[]> {
  const width = count === 0 ? 0 : data.length / count
  const pacer = new Pacer()
  const views = new Array<VectorOf<P>>(count)
  for (let i = 0; i < count; i++) {
    views[i] = data.subarray(i * width, (i + 1) * width) as VectorOf<P>
    if (i % STRIDE === 0 && pacer.due) await pacer.pause()
  }
  return views
}
