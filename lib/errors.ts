/**
 * Stable codes of {@link EmbeddingError}: what programs branch on. Messages may change, codes do not.
 */
export type ErrorCode =
  /** An argument is not of the form that the call takes. */
  | 'INVALID_INPUT'
  /** An option does not exist, has a value that it does not take, or that this model does not have. */
  | 'INVALID_OPTION'
  /** A text without content; `details.index` says which. */
  | 'EMPTY_TEXT'
  /** A text exceeds the model's limit and `truncate` is `false`; `details` has index, tokens and limit. */
  | 'TEXT_TOO_LONG'
  /** Neither a folder, nor in the hub cache, nor on the hub; or the hub has no such revision. */
  | 'MODEL_NOT_FOUND'
  /** The model is of a kind that this package does not run. */
  | 'MODEL_UNSUPPORTED'
  /** The files of the model are broken; `details.file` names the file. */
  | 'BAD_CHECKPOINT'
  /** The hub refuses access: a gated repository, or a wrong token. */
  | 'ACCESS_DENIED'
  /** A transfer failed. */
  | 'DOWNLOAD_FAILED'
  /** A file does not have the hash that the hub states. */
  | 'INTEGRITY_FAILED'
  /** The network is needed but may not be used. */
  | 'OFFLINE'
  /** No space left for a file. */
  | 'DISK_FULL'
  /** The device that was asked for cannot be used; `details` has every attempt and its reason. */
  | 'DEVICE_UNAVAILABLE'
  /** An allocation failed, or `memoryLimit` does not allow the work. */
  | 'OUT_OF_MEMORY'
  /** More tokens wait than `maxQueuedTokens` allows. */
  | 'QUEUE_FULL'
  /** The model computed NaN, infinity or a zero vector. */
  | 'NON_FINITE'
  /** The result would lie in another space than the one that was asked for. */
  | 'SPACE_MISMATCH'
  /** The engine was disposed. */
  | 'DISPOSED'
  /** The native addon cannot be loaded; `details.attempts` lists what was tried and why each failed. */
  | 'NATIVE_LOAD_FAILED'
  /** A bug in this package: please report it. */
  | 'INTERNAL'

/**
 * Every failure of this package, except a call's abort, which rejects with `signal.reason`.
 *
 * The message says what happened, with which value, and what to do.
 *
 * @example
 * ```ts
 * try {
 *   await embed(text, { model: './my-model' })
 * } catch (error) {
 *   if (error instanceof EmbeddingError && error.code === 'TEXT_TOO_LONG') console.error(error.details.limit)
 *   else throw error
 * }
 * ```
 */
export class EmbeddingError extends Error {
  /** What kind of failure it is: see {@link ErrorCode}. */
  readonly code: ErrorCode
  /** Values for programs, such as `{ index: 3, tokens: 700, limit: 512 }`. */
  readonly details: Record<string, unknown>

  constructor(code: ErrorCode, message: string, options: { details?: Record<string, unknown>; cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'EmbeddingError'
    this.code = code
    this.details = options.details ?? {}
  }
}

/** An `INVALID_INPUT` error. */
export function invalidInput(message: string, details: Record<string, unknown> = {}): EmbeddingError {
  return new EmbeddingError('INVALID_INPUT', message, { details })
}

/** An `INVALID_OPTION` error for the named option. */
export function invalidOption(option: string, message: string, value?: unknown): EmbeddingError {
  return new EmbeddingError('INVALID_OPTION', message, { details: { option, value } })
}

/** What the core puts into the message of its errors, as JSON. */
interface NativeFailure {
  code: string
  message: string
  details?: Record<string, unknown>
}

/** Rebuilds the typed error from one that the native binding threw. `ABORTED` stays in `code` for the caller to map. */
export function fromNative(thrown: unknown): EmbeddingError {
  if (thrown instanceof EmbeddingError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  const failure = parseFailure(message)
  if (failure) {
    return new EmbeddingError(failure.code as ErrorCode, failure.message, { details: failure.details ?? {} })
  }
  return new EmbeddingError(
    'INTERNAL',
    `The native core failed in an unexpected way: ${message}. Please report this.`,
    {
      cause: thrown,
    },
  )
}

function parseFailure(message: string): NativeFailure | undefined {
  if (!message.startsWith('{')) return undefined
  try {
    const value = JSON.parse(message) as Partial<NativeFailure>
    return typeof value.code === 'string' && typeof value.message === 'string' ? (value as NativeFailure) : undefined
  } catch {
    return undefined
  }
}
