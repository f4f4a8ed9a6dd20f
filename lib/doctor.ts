import { totalmem } from 'node:os'

import type { DeviceInfo } from './devices.ts'
import { EmbeddingEngine } from './engine.ts'
import { coreOptions } from './environment.ts'
import { EmbeddingError, fromNative } from './errors.ts'
import { hubStatus } from './hub-cache.ts'
import type { HubStatus } from './hub-cache.ts'
import { loadAddon } from './native/addon.ts'
import type { LoadAttempt } from './native/addon.ts'
import { findOnnxRuntime } from './native/onnxruntime.ts'
import type { OnnxRuntimeLocation } from './native/onnxruntime.ts'
import { currentKey } from './native/platform.ts'
import type { Logger, ModelRef } from './options.ts'
import type { ProgressCallback } from './progress.ts'
import type { ModelInfo } from './results.ts'
import { version } from './version.ts'

/** A failure as the doctor tells it. */
export interface Trouble {
  code: string
  message: string
}

/** A folder that the core uses, or why there is none. */
export type FolderState =
  | { path: string; exists: boolean; writable: boolean; freeSpace: number | null }
  | { reason: string }

/** What the core knows of itself and its surroundings. */
export interface CoreDiagnosis {
  version: string
  target: string
  threads: number
  /** The device that would be used, or why none. */
  device: string | { reason: string }
  devices: DeviceInfo[]
  onnxRuntime: { path: string; version: string } | { reason: string }
  /** The hub cache. */
  cache: FolderState
  /** Our own state. */
  home: FolderState
}

/** All that a report of a problem should say about this installation. */
export interface Diagnosis {
  versions: { package: string; node: string; platform: string; memoryTotal: number }
  addon: { path?: string; attempts: LoadAttempt[]; problem?: Trouble }
  /** Where the ONNX Runtime library was looked for. */
  onnxRuntime?: OnnxRuntimeLocation
  core?: CoreDiagnosis
  /** Where models come from, and whether it answers. */
  hub?: HubStatus
  /** The device that was asked for. */
  device?: { asked: string; available: boolean; reason?: string }
  /** The model that was asked for, loaded, or why it cannot be. */
  model?: { asked: ModelRef; info?: ModelInfo; problem?: Trouble }
  /** Whether everything that was asked for is there. */
  ok: boolean
}

/** Looks at the installation, and at the model and the device that are asked for. */
export async function diagnose(
  asked: {
    model?: ModelRef | undefined
    device?: string | undefined
    signal?: AbortSignal
    onProgress?: ProgressCallback | undefined
    logger?: Logger
  } = {},
): Promise<Diagnosis> {
  const diagnosis: Diagnosis = {
    versions: { package: version, node: process.version, platform: currentKey(), memoryTotal: totalmem() },
    addon: { attempts: [] },
    ok: true,
  }
  // Refuses a misspelt device before anything is looked at.
  await using engine = new EmbeddingEngine({ device: asked.device, logger: asked.logger })
  try {
    const addon = loadAddon()
    diagnosis.addon = { path: addon.path, attempts: addon.attempts }
    diagnosis.onnxRuntime = findOnnxRuntime(addon.path)
    diagnosis.core = JSON.parse(addon.binding.doctor(coreOptions({}, addon))) as CoreDiagnosis
    diagnosis.hub = await hubStatus()
  } catch (error) {
    const problem = fromNative(error)
    diagnosis.addon.attempts = (problem.details.attempts as LoadAttempt[] | undefined) ?? diagnosis.addon.attempts
    diagnosis.addon.problem = trouble(problem)
    return { ...diagnosis, ok: false }
  }
  if (asked.device !== undefined) {
    diagnosis.device = findDevice(asked.device, diagnosis.core.devices)
    diagnosis.ok &&= diagnosis.device.available
  }
  if (asked.model !== undefined) {
    diagnosis.model = { asked: asked.model }
    try {
      ;[diagnosis.model.info] = await engine.preload(asked.model, {
        signal: asked.signal,
        onProgress: asked.onProgress,
      })
    } catch (error) {
      asked.signal?.throwIfAborted()
      diagnosis.model.problem = trouble(error)
      diagnosis.ok = false
    }
  }
  return diagnosis
}

function findDevice(asked: string, devices: DeviceInfo[]): NonNullable<Diagnosis['device']> {
  // `cuda:0,1` are two, and both are needed.
  const ids = asked.includes(',')
    ? asked
        .replace(/^.*:/, '')
        .split(',')
        .map((index) => `cuda:${index}`)
    : [asked]
  const any = asked.replace(/:\*$/, '')
  const matching = devices.filter(({ id, kind }) => asked === 'auto' || ids.includes(id) || any === kind)
  const usable = matching.filter(({ available }) => available)
  if (usable.length >= ids.length) return { asked, available: true }
  const reasons = matching.map(({ id, reason }) => `${id}: ${reason ?? 'cannot be used'}`)
  return { asked, available: false, reason: reasons.join('; ') || 'this machine has no such device' }
}

function trouble(error: unknown): Trouble {
  const { code, message } = error instanceof EmbeddingError ? error : fromNative(error)
  return { code, message }
}
