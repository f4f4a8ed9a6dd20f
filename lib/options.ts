import type { ProgressCallback } from './progress.ts'

/**
 * Names a model: an alias (`'code'`, `'text'`, `'auto'`), a hub id (`'Qwen/Qwen3-Embedding-0.6B'`, with
 * `@revision` if wanted), or a path to a folder (`'./x'`, `'/x'`, `'file:…'`). What is not in the hub cache is
 * downloaded into it, unless the engine is offline.
 */
export type ModelRef = string

/**
 * What the vectors are for. `document` and `query` are made to be compared with each other;
 * each model maps a task to its own prompt, task id or nothing.
 */
export type Task = 'document' | 'query' | 'similarity' | 'classification' | 'clustering'

/** Number format of the vectors. */
export type Precision = 'float32' | 'int8' | 'uint8' | 'binary' | 'ubinary'

/** The typed array that holds a vector of the given precision. */
export type VectorOf<P extends Precision> = P extends 'float32'
  ? Float32Array
  : P extends 'int8' | 'binary'
    ? Int8Array
    : Uint8Array

/** Options of one call. */
export interface CallOptions<P extends Precision = Precision> {
  /**
   * The model.
   * @defaultValue the environment variable `EMBEDDING_ENGINE_MODEL`, else `'bundled'`
   * @example
   * ```ts
   * await embed('fn main() {}', { model: './models/my-model' })
   * ```
   */
  model?: ModelRef
  /**
   * What the vectors are for.
   * @defaultValue `'document'`
   * @example
   * ```ts
   * await embed('where are retries handled', { task: 'query' })
   * ```
   */
  task?: Task
  /**
   * Put before each text in place of the model's own prompt for the task; `false` for none.
   * @defaultValue the model's own
   * @example
   * ```ts
   * await embed('parse a date', { prompt: 'Instruct: Given a question, find code\nQuery: ' })
   * ```
   */
  prompt?: string | false
  /**
   * Cuts each vector to its first components and normalises it again (Matryoshka). Only what the model
   * declares is allowed.
   * @defaultValue all of the model's dimensions
   * @example
   * ```ts
   * await embed('text', { model: 'text', dimensions: 256 })
   * ```
   */
  dimensions?: number
  /**
   * Whether vectors get unit length.
   * @defaultValue `true`
   * @example
   * ```ts
   * await embed('text', { normalize: false })
   * ```
   */
  normalize?: boolean
  /**
   * Number format of the vectors. `int8` and `uint8` use one fixed scale (±1 becomes ±127); `binary` and
   * `ubinary` pack one bit a component, as sentence-transformers does.
   * @defaultValue `'float32'`
   * @example
   * ```ts
   * const { embedding } = await embed('text', { precision: 'int8' }) // an Int8Array
   * ```
   */
  precision?: P
  /**
   * `true`: a text over the model's limit is cut, and the result says so in `truncated`.
   * `false`: such a text is `TEXT_TOO_LONG`, before anything is computed.
   * @defaultValue `true`
   * @example
   * ```ts
   * await embedBatch(files, { truncate: false })
   * ```
   */
  truncate?: boolean
  /**
   * The fine-tune to use: `'auto'` for the one that is active for this model, if any; `false` for none; a
   * name or a folder.
   * @defaultValue `'auto'`
   * @example
   * ```ts
   * await embed('text', { adapter: false })
   * ```
   */
  adapter?: string | false
  /**
   * A space id: the call fails with `SPACE_MISMATCH` unless its vectors would lie in that space.
   * @defaultValue any space
   * @example
   * ```ts
   * const { space } = await embedBatch(documents, { model: 'code' })
   * await embed(question, { model: 'code', task: 'query', space })
   * ```
   */
  space?: string
  /**
   * Cancels the call, which then rejects with `signal.reason`.
   * @defaultValue none
   * @example
   * ```ts
   * await embedBatch(texts, { signal: AbortSignal.timeout(5000) })
   * ```
   */
  signal?: AbortSignal
  /**
   * Told how far the call is, at most ten times a second for each status. What it throws is ignored.
   * @defaultValue none
   * @example
   * ```ts
   * await embedBatch(texts, { onProgress: (p) => p.status === 'embedding' && console.error(p.done, p.total) })
   * ```
   */
  onProgress?: ProgressCallback
}

/** Options of {@link embedStream}. */
export interface StreamOptions<P extends Precision = Precision> extends CallOptions<P> {
  /**
   * The most texts in one part. A part also ends once its texts hold 128 Ki characters, so that
   * memory does not depend on how long the texts are.
   * @defaultValue `128`
   * @example
   * ```ts
   * for await (const { offset, embeddings } of embedStream(lines, { batchSize: 1 })) show(offset, embeddings[0])
   * ```
   */
  batchSize?: number
}

/** Options of {@link preloadModels}. */
export interface PreloadOptions {
  /**
   * Cancels the download and the loading; what has come stays.
   * @defaultValue none
   * @example
   * ```ts
   * await preloadModels('code', { signal: controller.signal })
   * ```
   */
  signal?: AbortSignal
  /**
   * Told how far the files of a model are, when it starts to load, and when it is ready.
   * @defaultValue none
   * @example
   * ```ts
   * await preloadModels('code', { onProgress: (p) => console.error(p.status) })
   * ```
   */
  onProgress?: ProgressCallback
}

/** Options of {@link EmbeddingEngine.download}. */
export interface DownloadOptions extends PreloadOptions {
  /**
   * Globs of further files of the repository, beside those that the model needs; `*` matches `/` too.
   * @defaultValue none
   * @example
   * ```ts
   * await engine.download('code', { include: ['LICENSE*'] })
   * ```
   */
  include?: string[]
}

/** A caller's own words about a model; stronger than what its folder and the catalogue say. */
export interface ModelOverrides {
  /**
   * Forces causal (`true`) or bidirectional (`false`) attention.
   * @defaultValue what the model's config says
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { causal: false } } })
   * ```
   */
  causal?: boolean
  /**
   * Forces the pooling.
   * @defaultValue what the model's folder says
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { pooling: 'mean' } } })
   * ```
   */
  pooling?: 'lasttoken' | 'cls' | 'mean' | 'max' | 'mean_sqrt_len' | 'weighted_mean'
  /**
   * Lowers the limit on the tokens of a text.
   * @defaultValue the model's own limit
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { maxTokens: 2048 } } })
   * ```
   */
  maxTokens?: number
  /**
   * The Matryoshka dimensions that the model was trained for.
   * @defaultValue what the model's config says
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { dimensions: [64, 128, 256] } } })
   * ```
   */
  dimensions?: number[]
  /**
   * The prompt of each task; an empty string for none.
   * @defaultValue the model's own
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { prompts: { query: 'query: ', document: 'passage: ' } } } })
   * ```
   */
  prompts?: Partial<Record<Task, string>>
  /**
   * Which backend runs the model. `'onnx'` takes the folder's ONNX graph, and where a Qwen or BERT folder has none,
   * writes one over its safetensors, without copying them: the vectors are the same, and so is the space.
   * @defaultValue safetensors by Candle before an ONNX graph; ONNX Runtime on a device that it alone reaches
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { backend: 'onnx' } } })
   * ```
   */
  backend?: 'candle' | 'onnx'
}

/** Where an engine's messages go. */
export interface Logger {
  info(message: string): void
  warn(message: string): void
  debug(message: string): void
}

/** Options of an {@link EmbeddingEngine}. */
export interface EngineOptions {
  /**
   * The device: `'auto'`, `'cpu'`, `'cuda'`, `'cuda:1'`, `'tensorrt'`, `'migraphx'`, `'directml'`, `'coreml'`,
   * `'openvino'`, `'metal'`; several cards as `'cuda:0,1'` or `'cuda:*'`. A named one that cannot be used is `DEVICE_UNAVAILABLE`;
   * {@link listDevices} tells which can. `'auto'` takes the NVIDIA card with the most free memory that can hold the
   * model, else the CPU; where there is a card that cannot be used, it says why in one warning. `'tensorrt'`,
   * `'migraphx'`, `'directml'`, `'coreml'` and `'openvino'` run in ONNX Runtime, Qwen and BERT folders as well.
   * @defaultValue the environment variable `EMBEDDING_ENGINE_DEVICE`, else `'auto'`
   * @example
   * ```ts
   * new EmbeddingEngine({ device: 'cpu' })
   * ```
   */
  device?: string
  /**
   * Number format of the weights in use. `'auto'` on a CPU is `'bfloat16'` where it multiplies that (AVX-512 BF16),
   * which is up to twice as fast, and `'float32'` elsewhere; `model.dtype` of a result tells. An ONNX graph has its
   * own: asking for another one is `INVALID_OPTION`, as is `'float16'` for Qwen models (they give NaN in it). On a GPU `'auto'` is
   * `'bfloat16'`. `'int8'` is for the CPU: a quarter of the memory, faster still where the CPU multiplies bytes (VNNI),
   * and coarser; its vectors lie in a space of their own.
   * @defaultValue `'auto'`
   * @example
   * ```ts
   * new EmbeddingEngine({ dtype: 'bfloat16' })
   * ```
   */
  dtype?: 'auto' | 'float32' | 'bfloat16' | 'float16' | 'int8'
  /**
   * The hub cache, shared with Python tools.
   * @defaultValue `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`
   * @example
   * ```ts
   * new EmbeddingEngine({ cacheDir: '/data/hub' })
   * ```
   */
  cacheDir?: string
  /**
   * The folder of this package's own state.
   * @defaultValue the environment variable `EMBEDDING_ENGINE_HOME`, else the platform's data folder
   * @example
   * ```ts
   * new EmbeddingEngine({ home: '/data/embedding-engine' })
   * ```
   */
  home?: string
  /**
   * The address of the hub.
   * @defaultValue `HF_ENDPOINT`, else the public hub
   * @example
   * ```ts
   * new EmbeddingEngine({ endpoint: 'https://hub.example.com' })
   * ```
   */
  endpoint?: string
  /**
   * The token for the hub. It is sent to the hub's own address only, and stands in no message.
   * @defaultValue `HF_TOKEN`, else the token file of the hub's tools
   * @example
   * ```ts
   * new EmbeddingEngine({ token: process.env.MY_HUB_TOKEN })
   * ```
   */
  token?: string
  /**
   * Never touch the network: a model that is not in the hub cache is `OFFLINE`. Otherwise a cached model whose
   * revision is pinned makes no request either, and one that is not makes one, for 1.5 s at most.
   * @defaultValue `HF_HUB_OFFLINE`, else `false`
   * @example
   * ```ts
   * new EmbeddingEngine({ offline: true })
   * ```
   */
  offline?: boolean
  /**
   * The token budget of one batch: what bounds the memory in use.
   * @defaultValue chosen by the core
   * @example
   * ```ts
   * new EmbeddingEngine({ maxTokensPerBatch: 4096 })
   * ```
   */
  maxTokensPerBatch?: number
  /**
   * The most bytes that the weights of loaded models may take: idle models are unloaded to make room, and what
   * does not fit even so is `OUT_OF_MEMORY`. Batches are bounded by `maxTokensPerBatch`; on a GPU in our own encoders
   * also by what this leaves of each card beside the weights.
   * @defaultValue no limit
   * @example
   * ```ts
   * new EmbeddingEngine({ memoryLimit: 4 * 2 ** 30 })
   * ```
   */
  memoryLimit?: number
  /**
   * The most tokens that may wait; a call past it fails at once with `QUEUE_FULL`. A call is let in where nothing
   * else waits, however large it is, and streams wait for room.
   * @defaultValue chosen by the core
   * @example
   * ```ts
   * new EmbeddingEngine({ maxQueuedTokens: 1_000_000 })
   * ```
   */
  maxQueuedTokens?: number
  /**
   * Unloads a model that was not used for this many milliseconds; the next call loads it again. `0` never does.
   * @defaultValue `0`
   * @example
   * ```ts
   * new EmbeddingEngine({ idleUnloadMs: 10 * 60_000 })
   * ```
   */
  idleUnloadMs?: number
  /**
   * The most threads that compute.
   * @defaultValue all cores
   * @example
   * ```ts
   * new EmbeddingEngine({ threads: 2 })
   * ```
   */
  threads?: number
  /**
   * Overrides by model, under the {@link ModelRef} as it is passed to calls.
   * @defaultValue none
   * @example
   * ```ts
   * new EmbeddingEngine({ modelDefaults: { './m': { causal: false, maxTokens: 2048 } } })
   * ```
   */
  modelDefaults?: Record<ModelRef, ModelOverrides>
  /**
   * Where messages go.
   * @defaultValue silent, except one `console.warn` for a fallback
   * @example
   * ```ts
   * new EmbeddingEngine({ logger: console })
   * ```
   */
  logger?: Logger
}
