import { CommanderError } from 'commander'

import { EmbeddingError } from '../errors.ts'

/** Exit codes of the command line. */
export const EXIT = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const

/** The user pressed Ctrl-C. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted')
    this.name = 'Interrupted'
  }
}

/** Something that was asked for is missing; what there is to say was printed. */
export class Incomplete extends Error {}

/** What was typed cannot be carried out as it stands. */
export class UsageError extends Error {}

const controller = new AbortController()

/** Aborted by Ctrl-C. */
export const interrupt: AbortSignal = controller.signal

function onSignal(): void {
  if (controller.signal.aborted) process.exit(EXIT.interrupted)
  controller.abort(new Interrupted())
}

/** Turns Ctrl-C into an abort; a second one ends the process at once. */
export function watchInterrupt(): void {
  process.on('SIGINT', onSignal)
}

/** Leaves Ctrl-C alone again. */
export function unwatchInterrupt(): void {
  process.off('SIGINT', onSignal)
}

/** The exit code for what a command threw. */
export function failureCode(error: unknown): number {
  if (error instanceof Interrupted) return EXIT.interrupted
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof UsageError) return EXIT.usage
  // What was typed is not what the package or this model takes.
  if (error instanceof EmbeddingError && error.code === 'INVALID_OPTION') return EXIT.usage
  return EXIT.failed
}

/** What to tell about it. */
export function messageOf(error: unknown): string {
  if (error instanceof EmbeddingError) return `${error.message} [${error.code}]`
  return error instanceof Error ? error.message : String(error)
}
