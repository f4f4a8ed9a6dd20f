import type { ChunkRange } from './chunks.ts'
import { EmbeddingEngine } from './engine.ts'
import type { CallOptions, ModelRef, Precision, PreloadOptions, StreamOptions } from './options.ts'
import type { BatchResult, ChunksResult, EmbedResult, ModelInfo, StreamPart } from './results.ts'
import type { TextSource } from './stream.ts'

let engine: EmbeddingEngine | undefined

/** The engine that the functions of the module share, with default options and the environment's. */
export function defaultEngine(): EmbeddingEngine {
  engine ??= new EmbeddingEngine()
  return engine
}

/**
 * The vector of one text.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const { embedding } = await embed('def add(a, b): return a + b', { model: 'code' })
 * ```
 */
export async function embed<P extends Precision = 'float32'>(
  text: string,
  options?: CallOptions<P>,
): Promise<EmbedResult<P>> {
  return defaultEngine().embed(text, options)
}

/**
 * The vectors of many texts, in order, each the same as if it were embedded alone. No texts give an empty result.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const { embeddings, usage, truncated } = await embedBatch(texts, { model: 'text', task: 'document' })
 * ```
 */
export async function embedBatch<P extends Precision = 'float32'>(
  texts: readonly string[],
  options?: CallOptions<P>,
): Promise<BatchResult<P>> {
  return defaultEngine().embedBatch(texts, options)
}

/**
 * The vectors of a source of any length, part by part, in bounded memory: the source is read only as fast as
 * parts are taken, one part ahead. Leaving the loop, or an abort, stops reading and computing.
 *
 * @throws EmbeddingError from the loop; `details.index` counts from the start of the source
 * @example
 * ```ts
 * for await (const { offset, embeddings } of embedStream(readLines(), { model: 'code' })) write(offset, embeddings)
 * ```
 */
export function embedStream<P extends Precision = 'float32'>(
  source: TextSource,
  options?: StreamOptions<P>,
): AsyncGenerator<StreamPart<P>, void, undefined> {
  return defaultEngine().embedStream(source, options)
}

/**
 * Late chunking: the model reads the whole document once, and each chunk's vector is pooled from its own tokens,
 * which have seen the rest. For models with mean pooling. Special tokens belong to no chunk.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const chunks = [{ start: 0, end: 812 }, { start: 812, end: 1500 }]
 * const { embeddings } = await embedChunks(document, chunks, { model: 'text' })
 * ```
 */
export async function embedChunks<P extends Precision = 'float32'>(
  document: string,
  chunks: readonly ChunkRange[],
  options?: CallOptions<P>,
): Promise<ChunksResult<P>> {
  return defaultEngine().embedChunks(document, chunks, options)
}

/**
 * How many tokens the model would read: prompt, text, special and end tokens, before any cut.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const tokens = await countTokens('fn main() {}', { model: 'code' })
 * const each = await countTokens(['a', 'b'], { model: 'code' })
 * ```
 */
export function countTokens(text: string, options?: CallOptions): Promise<number>
export function countTokens(texts: readonly string[], options?: CallOptions): Promise<number[]>
export async function countTokens(
  input: string | readonly string[],
  options?: CallOptions,
): Promise<number | number[]> {
  return defaultEngine().countTokens(input as string, options)
}

/**
 * Loads models ahead of the first call that needs them. All are tried, and the error tells of each that failed.
 *
 * @throws EmbeddingError with the code of the first failure; `details.failures` has all
 * @example
 * ```ts
 * await preloadModels(['text', 'code'], { onProgress: ({ status }) => console.error(status) })
 * ```
 */
export async function preloadModels(
  models: ModelRef | readonly ModelRef[],
  options?: PreloadOptions,
): Promise<ModelInfo[]> {
  return defaultEngine().preload(models, options)
}
