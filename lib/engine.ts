import { callNative } from './call.ts'
import type { CallContext } from './call.ts'
import { checkChunks, toByteRanges } from './chunks.ts'
import type { ChunkRange } from './chunks.ts'
import { encodeTexts } from './encode.ts'
import type { EncodedTexts } from './encode.ts'
import { coreOptions, defaultModel } from './environment.ts'
import { EmbeddingError, fromNative } from './errors.ts'
import type { ModelDownload, Verification } from './hub-cache.ts'
import { guarded, quietLogger } from './logger.ts'
import { loadAddon } from './native/addon.ts'
import type { NativeEngine, NativeVectors } from './native/binding.ts'
import type {
  CallOptions,
  DownloadOptions,
  EngineOptions,
  Logger,
  ModelRef,
  Precision,
  PreloadOptions,
  StreamOptions,
} from './options.ts'
import { ProgressRelay } from './progress.ts'
import { toBatchResult, toChunksResult, toEmbedResult } from './results.ts'
import type { BatchResult, ChunksResult, EmbedResult, ModelInfo, StreamPart } from './results.ts'
import { streamParts } from './stream.ts'
import type { TextSource } from './stream.ts'
import {
  checkArray,
  checkCallOptions,
  checkDownloadOptions,
  checkEngineOptions,
  checkModelRef,
  checkPreloadOptions,
  checkText,
} from './validate.ts'

/** The engine of the core with its logger, for what else stands on an engine. */
export let internals: (engine: EmbeddingEngine) => { native: NativeEngine; logger: Logger }

/**
 * An engine of its own: loaded models, a device, a queue. The functions of the module share one default engine;
 * make your own for other options or to free its memory at a known time.
 *
 * Nothing is loaded before the first call.
 *
 * @example
 * ```ts
 * await using engine = new EmbeddingEngine({ device: 'cpu', threads: 2 })
 * const { embedding } = await engine.embed('Hello', { model: './my-model' })
 * ```
 */
export class EmbeddingEngine {
  static {
    internals = (engine) => ({ native: engine.#start(), logger: engine.#logger })
  }

  readonly #options: EngineOptions
  readonly #logger: Logger
  #native: NativeEngine | undefined
  #disposing: Promise<void> | undefined

  /** @throws EmbeddingError `INVALID_OPTION`. What only the device or the files can tell is found out by the first call. */
  constructor(options: EngineOptions = {}) {
    checkEngineOptions(options)
    this.#options = { ...options }
    this.#logger = options.logger ? guarded(options.logger) : quietLogger
  }

  /** See {@link embed}. */
  async embed<P extends Precision = 'float32'>(text: string, options: CallOptions<P> = {}): Promise<EmbedResult<P>> {
    checkCallOptions('embed', options)
    checkText(text)
    options.signal?.throwIfAborted()
    const encoded = await encodeTexts([text], { signal: options.signal, single: true })
    return toEmbedResult(await this.#vectors(encoded, options))
  }

  /** See {@link embedBatch}. */
  async embedBatch<P extends Precision = 'float32'>(
    texts: readonly string[],
    options: CallOptions<P> = {},
  ): Promise<BatchResult<P>> {
    return this.#batch(texts, options)
  }

  /** See {@link embedStream}. */
  embedStream<P extends Precision = 'float32'>(
    source: TextSource,
    options: StreamOptions<P> = {},
  ): AsyncGenerator<StreamPart<P>, void, undefined> {
    return streamParts(source, options, (texts, part) => {
      const { batchSize: _, ...callOptions } = options
      return this.#batch(texts, { ...callOptions, ...part }, { wait: true })
    })
  }

  /** See {@link embedChunks}. */
  async embedChunks<P extends Precision = 'float32'>(
    document: string,
    chunks: readonly ChunkRange[],
    options: CallOptions<P> = {},
  ): Promise<ChunksResult<P>> {
    checkCallOptions('embedChunks', options)
    checkText(document)
    checkChunks(chunks, document.length)
    options.signal?.throwIfAborted()
    const ranges = toByteRanges(document, chunks)
    const encoded = await encodeTexts([document], { signal: options.signal, single: true })
    return toChunksResult(await this.#vectors(encoded, options, { chunks: ranges }), ranges.length)
  }

  /** See {@link countTokens}. */
  countTokens(text: string, options?: CallOptions): Promise<number>
  countTokens(texts: readonly string[], options?: CallOptions): Promise<number[]>
  async countTokens(input: string | readonly string[], options: CallOptions = {}): Promise<number | number[]> {
    checkCallOptions('countTokens', options)
    const single = typeof input === 'string'
    const texts = single ? [input] : input
    checkArray(texts, 'texts')
    options.signal?.throwIfAborted()
    const native = this.#start()
    const { bytes, lengths } = await encodeTexts(texts, { signal: options.signal })
    // The other options have no part in what the model reads.
    const { model, task, prompt, adapter } = options
    const counts = await callNative(this.#context(options), (cancel, onEvent) =>
      native.countTokens(requestJson({ model, task, prompt, adapter }), bytes, lengths, cancel, onEvent),
    )
    return single ? counts[0]! : Array.from(counts)
  }

  /** See {@link preloadModels}. */
  async preload(models: ModelRef | readonly ModelRef[], options: PreloadOptions = {}): Promise<ModelInfo[]> {
    checkPreloadOptions('preload', options)
    const list = typeof models === 'string' ? [models] : models
    checkArray(list, 'models')
    for (const [index, model] of list.entries()) checkModelRef(model, index)
    options.signal?.throwIfAborted()
    const native = this.#start()
    // One for all, so that together they do not tell more often than one alone.
    const relay = options.onProgress && new ProgressRelay(options.onProgress)
    const context = { ...this.#context(options), onProgress: relay }
    const outcomes = await Promise.allSettled(
      list.map((model) =>
        callNative(context, (cancel, onEvent) => native.preload(requestJson({ model }), cancel, onEvent)),
      ),
    )
    relay?.finish()
    options.signal?.throwIfAborted()
    const failures = outcomes.flatMap((outcome, i) =>
      outcome.status === 'rejected' ? [{ model: list[i]!, error: outcome.reason as EmbeddingError }] : [],
    )
    if (failures.length > 0) throw preloadError(failures, list.length)
    return outcomes.map((outcome) => JSON.parse((outcome as PromiseFulfilledResult<string>).value) as ModelInfo)
  }

  /**
   * Fetches a model into the hub cache without loading it, or the rest of it.
   *
   * @throws EmbeddingError `OFFLINE`, `MODEL_NOT_FOUND`, `ACCESS_DENIED`, `DOWNLOAD_FAILED`, `INTEGRITY_FAILED`,
   * `DISK_FULL`, `MODEL_UNSUPPORTED`
   * @example
   * ```ts
   * const { path, downloadedBytes } = await engine.download('code', { onProgress: console.error })
   * ```
   */
  async download(model: ModelRef, options: DownloadOptions = {}): Promise<ModelDownload> {
    checkDownloadOptions('download', options)
    checkModelRef(model, 0)
    options.signal?.throwIfAborted()
    const native = this.#start()
    const request = JSON.stringify({ model, include: options.include })
    const json = await callNative(this.#context(options), (cancel, onEvent) =>
      native.download(request, cancel, onEvent),
    )
    return JSON.parse(json) as ModelDownload
  }

  /**
   * Hashes the files of a model in the hub cache again, or of all models. Uses no network.
   *
   * @throws EmbeddingError `MODEL_NOT_FOUND`, `INVALID_INPUT` for a folder, whose files have no hashes
   * @example
   * ```ts
   * const { ok, models } = await engine.verify('code')
   * ```
   */
  async verify(model?: ModelRef, options: PreloadOptions = {}): Promise<Verification> {
    checkPreloadOptions('verify', options)
    if (model !== undefined) checkModelRef(model, 0)
    options.signal?.throwIfAborted()
    const native = this.#start()
    const json = await callNative(this.#context(options), (cancel, onEvent) =>
      native.verify(JSON.stringify({ model }), cancel, onEvent),
    )
    return JSON.parse(json) as Verification
  }

  /**
   * Ends the calls that wait or run with `DISPOSED`, and frees the models. Later calls are `DISPOSED`. May be
   * called again.
   *
   * @example
   * ```ts
   * const engine = new EmbeddingEngine()
   * try {
   *   await engine.embed('Hello')
   * } finally {
   *   await engine.dispose()
   * }
   * ```
   */
  dispose(): Promise<void> {
    this.#disposing ??= this.#native?.dispose() ?? Promise.resolve()
    return this.#disposing
  }

  /** The same as {@link EmbeddingEngine.dispose}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  async #batch<P extends Precision>(
    texts: readonly string[],
    options: CallOptions<P>,
    extra: ExtraOptions = {},
  ): Promise<BatchResult<P>> {
    checkCallOptions('embedBatch', options)
    checkArray(texts, 'texts')
    options.signal?.throwIfAborted()
    const encoded = await encodeTexts(texts, { signal: options.signal })
    return toBatchResult(await this.#vectors(encoded, options, extra))
  }

  async #vectors(
    { bytes, lengths }: EncodedTexts,
    options: CallOptions,
    extra: ExtraOptions = {},
  ): Promise<NativeVectors> {
    const native = this.#start()
    return callNative(this.#context(options), (cancel, onEvent) =>
      native.embed(requestJson(options, extra), bytes, lengths, cancel, onEvent),
    )
  }

  #context({ signal, onProgress }: PreloadOptions): CallContext {
    return { signal, onProgress, logger: this.#logger }
  }

  /** The engine of the core, made at the first call. */
  #start(): NativeEngine {
    if (this.#disposing) {
      throw new EmbeddingError('DISPOSED', 'This engine was disposed. Make a new one with new EmbeddingEngine().')
    }
    if (this.#native) return this.#native
    const addon = loadAddon()
    const { binding, path, attempts } = addon
    for (const { loaded, code, path: failed, message } of attempts) {
      if (!loaded && code !== 'ENOENT') this.#logger.warn(`${failed} cannot be loaded (${message}); ${path} is used.`)
    }
    try {
      this.#native = new binding.NativeEngine(coreOptions(this.#options, addon))
    } catch (error) {
      throw fromNative(error)
    }
    return this.#native
  }
}

/** What the core takes beside the options of the public API. */
interface ExtraOptions {
  /** Late chunking: ranges of the one text, in bytes. */
  chunks?: { start: number; end: number }[]
  /** Wait while the queue is full, in place of `QUEUE_FULL`: a stream holds back its own source. */
  wait?: boolean
}

/** A call's options as the core takes them. */
function requestJson(options: CallOptions, extra: ExtraOptions = {}): string {
  const { signal: _signal, onProgress: _onProgress, ...request } = options
  return JSON.stringify({ ...request, model: options.model ?? defaultModel(), ...extra })
}

/** One failure as it is; several in one error that has them all. */
function preloadError(failures: { model: ModelRef; error: EmbeddingError }[], asked: number): Error {
  const first = failures[0]!.error
  if (failures.length === 1 && asked === 1) return first
  const lines = failures.map(({ model, error }) => `  ${model}: ${error.message}`)
  return new EmbeddingError(
    first.code,
    `${failures.length} of ${asked} models could not be loaded:\n${lines.join('\n')}`,
    {
      details: {
        failures: failures.map(({ model, error }) => ({
          model,
          code: error.code,
          message: error.message,
          details: error.details,
        })),
      },
      cause: new AggregateError(failures.map(({ error }) => error)),
    },
  )
}
