import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'

import { currentPlatform } from './platform.ts'

const require = createRequire(import.meta.url)

/** Where the ONNX Runtime library is. */
export interface OnnxRuntimeLocation {
  /** The library, if it was found. */
  path?: string
  /** Every place that was looked at, in order. */
  looked: { path: string; origin: string; found: boolean }[]
}

/**
 * Finds the ONNX Runtime library: `EMBEDDING_ENGINE_ONNXRUNTIME`, beside the addon (as the platform package
 * has it), in the platform package, in the development dependency onnxruntime-node.
 */
export function findOnnxRuntime(addonPath: string): OnnxRuntimeLocation {
  const asked = process.env.EMBEDDING_ENGINE_ONNXRUNTIME
  if (asked) {
    // Passed on even if it does not exist: what was asked for, or an error that names it.
    const path = resolve(asked)
    return { path, looked: [{ path, origin: 'EMBEDDING_ENGINE_ONNXRUNTIME', found: existsSync(path) }] }
  }
  const platform = currentPlatform()
  const looked: OnnxRuntimeLocation['looked'] = []
  if (!platform?.onnxRuntime) return { looked }
  const file = platform.onnxRuntime
  const places: [origin: string, folder: string | undefined][] = [
    ['beside the addon', dirname(addonPath)],
    ['platform package', packageFolder(`embedding-engine-${platform.key}`)],
    ['onnxruntime-node', packageFolder('onnxruntime-node', 'bin', 'napi-v6', process.platform, process.arch)],
  ]
  for (const [origin, folder] of places) {
    if (!folder) continue
    const path = join(folder, file)
    const found = existsSync(path)
    looked.push({ path, origin, found })
    if (found) return { path, looked }
  }
  return { looked }
}

function packageFolder(name: string, ...inside: string[]): string | undefined {
  try {
    return join(dirname(require.resolve(`${name}/package.json`)), ...inside)
  } catch {
    return undefined
  }
}
