import { coreOptions } from './environment.ts'
import { fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import type { EngineOptions } from './options.ts'
import type { License } from './results.ts'
import { checkEngineOptions } from './validate.ts'

/** A model that this package knows by name, or finds in the hub cache, or both. */
export interface ModelEntry {
  /** Hub id. */
  id: string
  /** Short names for it. */
  aliases: string[]
  /** Its licence, where it is known. */
  license: License | null
  /** The commit that the short names stand for. */
  revision: string | null
  /** What it is good for. */
  summary: string | null
  /** Millions of parameters. */
  parameters: number | null
  /** Components of its vectors. */
  dimensions: number | null
  /** The longest text, in tokens. */
  maxTokens: number | null
  /** What its vectors can be cut to. */
  matryoshka: number[]
  /** What of it lies in the hub cache. */
  cached: CachedModel | null
}

/** The files of a model in the hub cache. */
export interface CachedModel {
  /** Their folder. */
  path: string
  /** Bytes on disk. */
  bytes: number
  /**
   * The snapshots: the commit, the branches and tags that stand for it, the folder with its files, and whether all
   * that the model needs is there (`false` where a download was broken off).
   */
  revisions: { commit: string; refs: string[]; path: string; complete: boolean }[]
}

/**
 * The models that this package knows by name, then those that are only in the hub cache.
 *
 * @throws EmbeddingError `NATIVE_LOAD_FAILED`, `INVALID_OPTION`
 * @example
 * ```ts
 * for (const { id, aliases, cached } of listModels()) console.log(id, aliases, cached ? 'here' : 'not here')
 * ```
 */
export function listModels(options: Pick<EngineOptions, 'cacheDir'> = {}): ModelEntry[] {
  checkEngineOptions(options)
  try {
    const addon = loadAddon()
    return JSON.parse(addon.binding.listModels(coreOptions(options, addon))) as ModelEntry[]
  } catch (error) {
    throw fromNative(error)
  }
}
