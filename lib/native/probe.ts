import { createRequire } from 'node:module'

/** How the core starts a process of its own, in which a broken driver does no harm. */
export interface ProbeCommand {
  program: string
  args: string[]
  /** `null` for a variable that the process must not have. */
  env: Record<string, string | null>
}

/** Works as CommonJS and as a module, in Node, Bun and Electron. */
const SCRIPT =
  'import("node:module").then((m) => m.createRequire("/")(process.env.EMBEDDING_ENGINE_PROBE_ADDON).probeCuda())'

/**
 * The runtime of this process with a script that loads the addon and tries CUDA's libraries. `undefined` in a single
 * executable, which would start the program once more: there no GPU is used.
 */
export function probeCommand(addonPath: string): ProbeCommand | undefined {
  if (isSingleExecutable()) return undefined
  return {
    program: process.execPath,
    args: ['-e', SCRIPT],
    env: {
      EMBEDDING_ENGINE_PROBE_ADDON: addonPath,
      // Electron's executable as Node. Without it the program would start once more.
      ELECTRON_RUN_AS_NODE: process.versions.electron ? '1' : null,
      // A debugger's port is taken, preloaded modules may do anything, and the parent's channel is not for this one.
      NODE_OPTIONS: null,
      NODE_CHANNEL_FD: null,
      NODE_CHANNEL_SERIALIZATION_MODE: null,
      NODE_UNIQUE_ID: null,
      NODE_V8_COVERAGE: null,
      NODE_INSPECT_RESUME_ON_START: null,
      BUN_OPTIONS: null,
      BUN_INSPECT: null,
    },
  }
}

/** Whether the executable is the program itself (Node's `--build-sea`, pkg, `bun build --compile`). */
function isSingleExecutable(): boolean {
  if ('pkg' in process) return true
  // Bun puts the files of a compiled program under this root.
  if (process.versions.bun) return /^(\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/.test(import.meta.url.replace(/^file:\/\//, ''))
  try {
    // Node 20.12 and newer.
    const { isSea } = createRequire(import.meta.url)('node:sea') as { isSea?: () => boolean }
    return isSea?.() ?? false
  } catch {
    return false
  }
}
