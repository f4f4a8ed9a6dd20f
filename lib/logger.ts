import type { Logger } from './options.ts'

/** Silent, except that each warning (there is one, for a fallback) is told once in a process. */
export const quietLogger: Logger = {
  info() {},
  debug() {},
  warn(message) {
    if (told.has(message)) return
    told.add(message)
    console.warn(`embedding-engine: ${message}`)
  },
}

const told = new Set<string>()

/** The user's logger behind a guard: what it throws is not the call's failure, and would end the process. */
export function guarded(logger: Logger): Logger {
  const guard = (level: keyof Logger) => (message: string) => {
    try {
      logger[level](message)
    } catch {
      // As with progress callbacks.
    }
  }
  return { info: guard('info'), warn: guard('warn'), debug: guard('debug') }
}
