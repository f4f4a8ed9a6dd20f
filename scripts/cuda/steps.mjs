// How the steps of the CUDA build run and tell of themselves.
import { execFileSync } from 'node:child_process'

/** What a command prints. */
export function output(command, args, { cwd } = {}) {
  return execFileSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** One step: says what it does and how long it took. */
export async function step(name, why, action) {
  console.log(`[cuda] ${name}: ${why}`)
  const begin = performance.now()
  const result = await action()
  console.log(`[cuda] ${name}: done in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
  return result
}
