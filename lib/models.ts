import { nativeOptions } from './environment.ts'
import { fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import type { EngineOptions } from './options.ts'
import type { License } from './results.ts'
import { checkEngineOptions } from './validate.ts'

/** A model that this package knows by name or finds in the hub cache. */
export interface ModelEntry {
  /** Hub id. */
  id: string
  /** Other names of it. */
  aliases: string[]
  /** Its licence, where it is known. */
  license: License | null
}

/**
 * The models that this package knows by name.
 *
 * @throws EmbeddingError `NATIVE_LOAD_FAILED`
 * @example
 * ```ts
 * for (const { id, aliases, license } of await listModels()) console.log(id, aliases, license?.name)
 * ```
 */
export async function listModels(options: EngineOptions = {}): Promise<ModelEntry[]> {
  checkEngineOptions(options)
  try {
    return JSON.parse(loadAddon().binding.listModels(nativeOptions(options, undefined))) as ModelEntry[]
  } catch (error) {
    throw fromNative(error)
  }
}
