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

/** What {@link embedStream} gives, part by part. */
export interface StreamPart<P extends Precision = Precision> extends BatchResult<P> {
  /** The place of the part's first text in the source. */
  offset: number
}

/** The clock is looked at once in this many rows. */
const STRIDE = 256

/** Lays views over the vectors of the core, in slices between which the event loop runs. */
export async function toBatchResult<P extends Precision>(native: NativeVectors): Promise<BatchResult<P>> {
  const report = JSON.parse(native.report) as NativeReport
  const data = native.data as VectorOf<P>
  const count = native.truncated.length
  const width = count === 0 ? 0 : data.length / count
  const pacer = new Pacer()
  const embeddings = new Array<VectorOf<P>>(count)
  const truncated = new Array<boolean>(count)
  for (let i = 0; i < count; i++) {
    embeddings[i] = data.subarray(i * width, (i + 1) * width) as VectorOf<P>
    truncated[i] = native.truncated[i] === 1
    if (i % STRIDE === 0 && pacer.due) await pacer.pause()
  }
  return {
    embeddings,
    data,
    dimensions: report.dimensions,
    usage: { tokens: report.tokens, tokensPerText: native.tokensPerText },
    truncated,
    model: report.model as ModelInfo,
    space: report.space,
  }
}

/** The result of a call with one text: the vector owns its memory. */
export function toEmbedResult<P extends Precision>(native: NativeVectors): EmbedResult<P> {
  const report = JSON.parse(native.report) as NativeReport
  return {
    embedding: native.data as VectorOf<P>,
    dimensions: report.dimensions,
    usage: { tokens: report.tokens },
    truncated: native.truncated[0] === 1,
    model: report.model as ModelInfo,
    space: report.space,
  }
}
