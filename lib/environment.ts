import type { EngineOptions, ModelRef } from './options.ts'

/** The model of a call that names none. */
export function defaultModel(): ModelRef {
  return process.env.EMBEDDING_ENGINE_MODEL || 'bundled'
}

/** The options of an engine as the core takes them: completed from the environment, without the logger. */
export function nativeOptions(options: EngineOptions, onnxRuntime: string | undefined): string {
  const { logger: _, ...rest } = options
  return JSON.stringify({
    ...rest,
    device: options.device ?? (process.env.EMBEDDING_ENGINE_DEVICE || undefined),
    home: options.home ?? (process.env.EMBEDDING_ENGINE_HOME || undefined),
    onnxRuntime,
  })
}
