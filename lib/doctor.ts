import { totalmem } from 'node:os'

import { listDevices } from './devices.ts'
import type { DeviceInfo } from './devices.ts'
import { EmbeddingEngine } from './engine.ts'
import { nativeOptions } from './environment.ts'
import { EmbeddingError, fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import type { LoadAttempt } from './native/addon.ts'
import { findOnnxRuntime } from './native/onnxruntime.ts'
import type { OnnxRuntimeLocation } from './native/onnxruntime.ts'
import { currentKey } from './native/platform.ts'
import type { EngineOptions, ModelRef } from './options.ts'
import type { ModelInfo } from './results.ts'
import { version } from './version.ts'

/** A failure as the doctor tells it. */
export interface Trouble {
  code: string
  message: string
}

/** All that a report of a problem should say about this installation. */
export interface Diagnosis {
  versions: { package: string; node: string; platform: string; memoryTotal: number }
  addon: { path?: string; attempts: LoadAttempt[]; problem?: Trouble }
  onnxRuntime?: OnnxRuntimeLocation
  devices?: DeviceInfo[]
  /** What the core says: processor features, threads, cache with its free space, ONNX Runtime's version. */
  core?: Record<string, unknown>
  /** The device that was asked for. */
  device?: { asked: string; available: boolean; reason?: string }
  /** The model that was asked for, loaded, or why it cannot be. */
  model?: { asked: ModelRef; info?: ModelInfo; problem?: Trouble }
  /** Whether everything that was asked for is there. */
  ok: boolean
}

/** Looks at the installation, and at the model and the device that are asked for. */
export async function diagnose(
  asked: { model?: ModelRef | undefined; device?: string | undefined; signal?: AbortSignal } = {},
): Promise<Diagnosis> {
  const diagnosis: Diagnosis = {
    versions: { package: version, node: process.version, platform: currentKey(), memoryTotal: totalmem() },
    addon: { attempts: [] },
    ok: true,
  }
  // Refuses a misspelt device, before anything is looked at.
  const options: EngineOptions = { device: asked.device }
  await using engine = new EmbeddingEngine(options)
  try {
    const { path, attempts, binding } = loadAddon()
    diagnosis.addon = { path, attempts }
    diagnosis.onnxRuntime = findOnnxRuntime(path)
    diagnosis.devices = await listDevices()
    diagnosis.core = core(() => binding.doctor(nativeOptions(options, diagnosis.onnxRuntime?.path)))
  } catch (error) {
    const problem = fromNative(error)
    diagnosis.addon.attempts = (problem.details.attempts as LoadAttempt[] | undefined) ?? diagnosis.addon.attempts
    diagnosis.addon.problem = trouble(problem)
    return { ...diagnosis, ok: false }
  }
  if (asked.device !== undefined) {
    diagnosis.device = findDevice(asked.device, diagnosis.devices)
    diagnosis.ok &&= diagnosis.device.available
  }
  if (asked.model !== undefined) {
    diagnosis.model = { asked: asked.model }
    try {
      ;[diagnosis.model.info] = await engine.preload(asked.model, { signal: asked.signal })
    } catch (error) {
      asked.signal?.throwIfAborted()
      diagnosis.model.problem = trouble(error)
      diagnosis.ok = false
    }
  }
  return diagnosis
}

function core(ask: () => string): Record<string, unknown> {
  return JSON.parse(ask()) as Record<string, unknown>
}

function findDevice(asked: string, devices: DeviceInfo[]): NonNullable<Diagnosis['device']> {
  const matching = devices.filter(({ id, kind }) => asked === 'auto' || asked === id || asked === kind)
  if (matching.some(({ available }) => available)) return { asked, available: true }
  const reasons = matching.map(({ id, reason }) => `${id}: ${reason ?? 'cannot be used'}`)
  return { asked, available: false, reason: reasons.join('; ') || 'this build does not know it' }
}

function trouble(error: unknown): Trouble {
  const { code, message } = error instanceof EmbeddingError ? error : fromNative(error)
  return { code, message }
}
