// What is published for each platform, beside what a plain build of this checkout has.
import { join } from 'node:path'

import { ROOT } from './setup.mjs'

/** Features of crates/node. Apple's Metal and Accelerate are part of macOS; CUDA is looked up at run time. */
export const FEATURES = {
  'linux-x64-gnu': ['cuda'],
  'darwin-arm64': ['metal', 'accelerate'],
}

/** The key of this machine's platform package; lib/native/platform.ts has it for users, and musl. */
export const KEY = `${process.platform}-${process.arch}${{ linux: '-gnu', win32: '-msvc' }[process.platform] ?? ''}`

/** Where the addon for publication is put, by the key of its platform. */
export const distAddon = (key) => join(ROOT, 'npm', key, `embedding-engine.${key}.node`)
