import { resolve } from 'node:path'

import { callNative } from './call.ts'
import type { ChunkKind, SkipReason } from './chunk-code.ts'
import { defaultEngine } from './default-engine.ts'
import { EmbeddingEngine, internals } from './engine.ts'
import { defaultModel } from './environment.ts'
import { EmbeddingError, fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import type { NativeIndex } from './native/binding.ts'
import type { CallOptions, EngineOptions, PreloadOptions } from './options.ts'
import {
  checkOpenIndexOptions,
  checkQueryOptions,
  checkText,
  checkUpdateOptions,
  splitEngineOptions,
} from './validate.ts'

/**
 * Options of {@link openIndex}: those of an engine, those of a call that belong to a whole index, and where the index is
 * and what is in it. Without any option of an engine the default engine is shared.
 */
export interface OpenIndexOptions
  extends EngineOptions, Pick<CallOptions, 'model' | 'dimensions' | 'truncate' | 'adapter' | 'space'> {
  /**
   * The file of the index; folders above it are made.
   * @defaultValue a file in `indexes` under the engine's `home`, named after the folder
   * @example
   * ```ts
   * await openIndex('.', { store: '.cache/search.db' })
   * ```
   */
  store?: string
  /**
   * Globs of the files to take; `*` stays within a folder, `**` does not.
   * @defaultValue all
   * @example
   * ```ts
   * await openIndex('.', { include: ['src/**'] })
   * ```
   */
  include?: string[]
  /**
   * Globs of files to leave out.
   * @defaultValue none
   * @example
   * ```ts
   * await openIndex('.', { exclude: ['**\/*.test.ts'] })
   * ```
   */
  exclude?: string[]
}

/** What {@link SearchIndex.update} did. */
export interface UpdateReport {
  /** Files in the index now. */
  files: number
  /** Of these, files that were not in it before. */
  added: number
  /** Files whose content was another one. */
  changed: number
  /** Files that were in it, and are not any more. */
  removed: number
  /** Files that are as they were. */
  unchanged: number
  /** Chunks in the index now. */
  chunks: number
  /** Texts that had to be embedded: equal chunks are one text. */
  embedded: number
  /** What the model read for them. */
  tokens: number
  /** Files that have no chunks, by reason. */
  skipped: Partial<Record<SkipReason, number>>
  /** The space of the vectors. */
  space: string
}

/** Options of {@link SearchIndex.query}. */
export interface QueryOptions extends PreloadOptions {
  /**
   * How many hits at most.
   * @defaultValue `10`
   * @example
   * ```ts
   * await index.query('where are retries handled', { top: 3 })
   * ```
   */
  top?: number
  /**
   * `true`: full text (BM25 over the parts of names) has a say beside the vectors. `false`: the vectors decide alone,
   * and the score is the cosine.
   * @defaultValue `true`
   * @example
   * ```ts
   * await index.query('where are retries handled', { hybrid: false })
   * ```
   */
  hybrid?: boolean
  /**
   * Only chunks of these languages (names as in `chunkCode`), and of paths that match one of these globs.
   * @defaultValue all
   * @example
   * ```ts
   * await index.query('retry', { filter: { language: ['ts', 'tsx'], path: 'src/**' } })
   * ```
   */
  filter?: { language?: string | string[]; path?: string | string[] }
}

/** A chunk that was found. */
export interface SearchHit {
  /** Relative to the folder, with `/`. */
  path: string
  /** From 1. */
  startLine: number
  /** From 1. */
  endLine: number
  /** What it is called. */
  name: string | null
  kind: ChunkKind
  /** `typescript`, `python`, …; null for files of no language that is known. */
  language: string | null
  /**
   * The higher, the better. With `hybrid: false` the cosine; else how many standard deviations the chunk is above the
   * mean of the index, by its cosine and (weighted) by full text.
   */
  score: number
  /** The source as it stood when the file was stored. */
  text: string
}

/** How much there is in an index. */
export interface IndexStats {
  files: number
  chunks: number
  /** On disk. */
  bytes: number
  /** The file. */
  store: string
  /** The space of the vectors; null before the first update. */
  space: string | null
}

/** An index of a folder: see {@link openIndex}. Several programs may use one at a time. */
export interface SearchIndex {
  /**
   * The space of its vectors; null before the first update. Another model has another space in the same index, and
   * its own vectors: they are never mixed.
   */
  readonly space: string | null
  /**
   * Brings the index up to date with the folder: reads what changed, cuts it, embeds what has no vector yet. Each batch
   * is stored as soon as it is computed, so that an update that is interrupted goes on from there. One that runs
   * already, here or in another process, is waited for.
   *
   * @throws EmbeddingError `DISK_FULL`, `INTEGRITY_FAILED` for a damaged index, `DISPOSED`, and those of the model
   * @example
   * ```ts
   * const { added, changed, removed, tokens } = await index.update({ onProgress: console.error })
   * ```
   */
  update(options?: PreloadOptions): Promise<UpdateReport>
  /**
   * The best chunks for a text, best first: exactly those that a scan of all vectors finds. Equal ones are in the order
   * of path and line.
   *
   * @throws EmbeddingError `SPACE_MISMATCH` where the index has no vectors of this model yet, `EMPTY_TEXT`,
   * `INVALID_OPTION`, `INTEGRITY_FAILED`, `DISPOSED`, and those of the model
   * @example
   * ```ts
   * for (const { path, startLine, name, score } of await index.query('where are retries handled')) {
   *   console.log(`${path}:${startLine}`, name, score)
   * }
   * ```
   */
  query(text: string, options?: QueryOptions): Promise<SearchHit[]>
  /**
   * How much there is.
   *
   * @throws EmbeddingError `DISPOSED`, `INTEGRITY_FAILED`
   * @example
   * ```ts
   * const { files, chunks, bytes } = await index.stats()
   * ```
   */
  stats(): Promise<IndexStats>
  /**
   * Ends what runs with `DISPOSED`, and closes the file. May be called again.
   *
   * @example
   * ```ts
   * await index.close()
   * ```
   */
  close(): Promise<void>
  /** The same as {@link SearchIndex.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Opens the search index of a folder, or makes an empty one: a file that holds the chunks of the folder's code, their
 * vectors and their words. {@link SearchIndex.update} fills it.
 *
 * @throws EmbeddingError `INVALID_INPUT` for what is no folder or no index, `INVALID_OPTION`, `INTEGRITY_FAILED`
 * @example
 * ```ts
 * await using index = await openIndex('./my-repo')
 * await index.update()
 * const hits = await index.query('where are retries handled', { top: 5 })
 * ```
 */
export async function openIndex(folder: string, options: OpenIndexOptions = {}): Promise<SearchIndex> {
  checkText(folder)
  checkOpenIndexOptions('openIndex', options)
  const { engine: engineOptions, rest } = splitEngineOptions(options)
  const { store, include, exclude, model, ...call } = rest
  const own = Object.keys(engineOptions).length > 0 ? new EmbeddingEngine(engineOptions) : undefined
  try {
    const { native, logger } = internals(own ?? defaultEngine())
    const request = JSON.stringify({ ...call, model: model ?? defaultModel() })
    const place = JSON.stringify({
      store: store === undefined ? undefined : resolve(store),
      home: engineOptions.home ?? (process.env.EMBEDDING_ENGINE_HOME || undefined),
      include,
      exclude,
    })
    const index = await loadAddon().binding.openIndex(native, folder, request, place)
    return new OpenedIndex(index, logger, own)
  } catch (error) {
    await own?.dispose()
    throw fromNative(error)
  }
}

class OpenedIndex implements SearchIndex {
  readonly #native: NativeIndex
  readonly #logger: ReturnType<typeof internals>['logger']
  /** Made for this index alone. */
  readonly #engine: EmbeddingEngine | undefined
  #closing: Promise<void> | undefined

  constructor(native: NativeIndex, logger: ReturnType<typeof internals>['logger'], engine?: EmbeddingEngine) {
    this.#native = native
    this.#logger = logger
    this.#engine = engine
  }

  get space(): string | null {
    return this.#native.space() ?? null
  }

  async update(options: PreloadOptions = {}): Promise<UpdateReport> {
    checkUpdateOptions('update', options)
    this.#check()
    const json = await callNative({ ...options, logger: this.#logger }, (cancel, onEvent) =>
      this.#native.update(cancel, onEvent),
    )
    return JSON.parse(json) as UpdateReport
  }

  async query(text: string, options: QueryOptions = {}): Promise<SearchHit[]> {
    checkText(text)
    checkQueryOptions('query', options)
    this.#check()
    const { signal, onProgress, filter, ...rest } = options
    const asked = JSON.stringify({ ...rest, filter: { language: list(filter?.language), path: list(filter?.path) } })
    const json = await callNative({ signal, onProgress, logger: this.#logger }, (cancel, onEvent) =>
      this.#native.query(text, asked, cancel, onEvent),
    )
    return JSON.parse(json) as SearchHit[]
  }

  async stats(): Promise<IndexStats> {
    this.#check()
    try {
      return JSON.parse(await this.#native.stats()) as IndexStats
    } catch (error) {
      throw fromNative(error)
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#native.close().then(() => this.#engine?.dispose())
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #check(): void {
    if (!this.#closing) return
    throw new EmbeddingError('DISPOSED', 'This index was closed. Open it again with openIndex for further calls.')
  }
}

function list(value: string | string[] | undefined): string[] | undefined {
  return typeof value === 'string' ? [value] : value
}
