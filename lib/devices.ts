import { coreOptions } from './environment.ts'
import { fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'

/** A device that this build knows, usable or not. */
export interface DeviceInfo {
  /** `cpu`, `cuda:0`, … as the option `device` takes it. */
  id: string
  /** `cpu`, `cuda`, `tensorrt`, `migraphx`, `directml`, `coreml`, `openvino`, `metal` */
  kind: string
  /** What the maker calls it. */
  name: string
  /** Whether it can be used. */
  available: boolean
  /** Why not. */
  reason?: string
  /** Bytes. */
  memoryTotal?: number
  /** Bytes. */
  memoryFree?: number
  /**
   * What else is known: `backends` that can use it, `features` of a CPU; of an NVIDIA card `computeCapability`, `driver`
   * (its version), `driverCuda` (the newest CUDA that it knows), `libraries` (where each was found), `attempts` (files
   * that cannot be used, each with its reason), and `command`, which installs what is missing.
   */
  details: Record<string, unknown>
}

/**
 * Every device that this build knows, the unusable ones with the reason; each NVIDIA card is one.
 *
 * Where an NVIDIA driver is installed, its libraries are first tried in a process of their own, so that a broken one
 * does no harm. That takes up to some seconds once; what came of it is kept in `EMBEDDING_ENGINE_HOME`.
 *
 * @throws EmbeddingError `NATIVE_LOAD_FAILED`
 * @example
 * ```ts
 * for (const { id, available, reason } of listDevices()) console.log(id, available ? 'usable' : reason)
 * ```
 */
export function listDevices(): DeviceInfo[] {
  try {
    const addon = loadAddon()
    return JSON.parse(addon.binding.listDevices(coreOptions({}, addon))) as DeviceInfo[]
  } catch (error) {
    throw fromNative(error)
  }
}
