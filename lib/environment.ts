import { join } from 'node:path'

import { PACKAGE_ROOT } from './native/addon.ts'
import type { Addon } from './native/addon.ts'
import { findOnnxRuntime } from './native/onnxruntime.ts'
import { probeCommand } from './native/probe.ts'
import type { EngineOptions, ModelRef } from './options.ts'

/** The model of a call that names none. */
export function defaultModel(): ModelRef {
  return process.env.EMBEDDING_ENGINE_MODEL || 'bundled'
}

/** The folder of the model that comes with the package. */
const BUNDLED_MODEL = join(PACKAGE_ROOT, 'models', 'bundled')

/**
 * The options of an engine as the core takes them, completed from the environment. Node's `process.env` is read
 * here, because in a worker thread it may differ from what the core would see.
 */
export function coreOptions(options: EngineOptions, addon: Addon): string {
  const { logger: _, ...rest } = options
  return JSON.stringify({
    ...rest,
    device: options.device ?? (process.env.EMBEDDING_ENGINE_DEVICE || undefined),
    home: options.home ?? (process.env.EMBEDDING_ENGINE_HOME || undefined),
    onnxRuntime: findOnnxRuntime(addon.path).path,
    bundledModel: BUNDLED_MODEL,
    cudaLibraries: process.env.EMBEDDING_ENGINE_CUDA_LIBS || undefined,
    probe: probeCommand(addon.path),
  })
}
