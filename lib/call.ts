import { EmbeddingError, fromNative } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import type { CancelToken, EventCallback } from './native/binding.ts'
import type { Logger } from './options.ts'
import { ProgressRelay } from './progress.ts'
import type { EmbeddingProgress, ProgressCallback } from './progress.ts'

/** What goes with a call beside its request. */
export interface CallContext {
  signal?: AbortSignal | undefined
  /** The user's callback, or what several calls share to speak to it. */
  onProgress?: ProgressCallback | ProgressRelay | undefined
  logger: Logger
}

/** What the core tells beside progress: for the logger. */
interface Notice {
  status: 'notice'
  level: 'info' | 'warn'
  message: string
}

/**
 * Runs one call of the core: typed errors, progress, and an abort that rejects at once with the signal's reason
 * while the core stops at its next look at the cancel token.
 */
export async function callNative<T>(
  context: CallContext,
  run: (cancel: CancelToken, onEvent: EventCallback) => Promise<T>,
): Promise<T> {
  const { signal, onProgress, logger } = context
  signal?.throwIfAborted()
  const cancel = new (loadAddon().binding.CancelToken)()
  const shared = onProgress instanceof ProgressRelay
  const relay = typeof onProgress === 'function' ? new ProgressRelay(onProgress) : onProgress
  let loading = false
  const onEvent = (json: string): void => {
    const event = JSON.parse(json) as EmbeddingProgress | Notice
    if (event.status === 'notice') {
      logger[event.level](event.message)
      return
    }
    if (event.status === 'loading') {
      loading = true
      logger.debug(`loading ${event.model}`)
    }
    // Every call hears that its model is ready; only a model that was loaded for it is worth a message.
    if (event.status === 'ready' && loading) logger.info(`${event.model} is ready on ${event.device}`)
    relay?.send(event)
  }

  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = (): void => {
      cancel.cancel()
      reject(signal!.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
  try {
    const result = await Promise.race([run(cancel, onEvent), aborted])
    if (!shared) relay?.finish()
    return result
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw publicError(error)
  } finally {
    if (!shared) relay?.close()
    if (onAbort) signal?.removeEventListener('abort', onAbort)
  }
}

/** The core's own code for a cancelled call is not public: without an aborted signal only `dispose` cancels. */
function publicError(error: unknown): EmbeddingError {
  const rebuilt = fromNative(error)
  if ((rebuilt.code as ErrorCode | 'ABORTED') !== 'ABORTED') return rebuilt
  return new EmbeddingError('DISPOSED', 'The engine was disposed while this call was running.', { cause: error })
}
