// Import this before the first call: the addon is loaded then, and from here.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** Where the stand-in is. */
export const FAKE_ADDON = fileURLToPath(new URL('fake-addon.cjs', import.meta.url))

process.env.EMBEDDING_ENGINE_ADDON = FAKE_ADDON

interface FakeCall {
  request: Record<string, unknown>
  text: string
  lengths: number[]
  cancelled: boolean
  done: boolean
}

/** What the stand-in was asked, and its switch. */
export const core = createRequire(import.meta.url)(FAKE_ADDON) as {
  calls: FakeCall[]
  counted: Record<string, unknown>[]
  hold(): void
  release(): void
}

/** Waits until the core was asked this many times. */
export async function untilCalls(count: number): Promise<void> {
  while (core.calls.length < count) await new Promise((resolve) => setImmediate(resolve))
}
