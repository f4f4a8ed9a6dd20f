/** What {@link CallOptions.onProgress} is told. */
export type EmbeddingProgress =
  /** The model's weights are being loaded. */
  | { status: 'loading'; model: string }
  /** The model can be used. */
  | { status: 'ready'; model: string; device: string }
  /**
   * How far the texts are. `total` and `etaSeconds` are missing only in a stream whose source does not say how
   * many texts it has.
   */
  | { status: 'embedding'; done: number; total?: number; tokensPerSecond: number; etaSeconds?: number }

/** Told how far a call is. */
export type ProgressCallback = (progress: EmbeddingProgress) => void

/** Between two events of one status: ten a second. */
const INTERVAL_MS = 100

/**
 * Stands between the core and a user's callback: at most ten events a second for each status, nothing after
 * the call ended, and what the callback throws goes nowhere, because a throw would end the process.
 */
export class ProgressRelay {
  readonly #callback: ProgressCallback
  readonly #lastSent = new Map<string, number>()
  readonly #held = new Map<string, EmbeddingProgress>()
  #closed = false

  constructor(callback: ProgressCallback) {
    this.#callback = callback
  }

  /** Passes one event on, or holds it back if the last of its status is too young. */
  send(event: EmbeddingProgress): void {
    if (this.#closed) return
    const now = performance.now()
    const last = this.#lastSent.get(event.status)
    if (last !== undefined && now - last < INTERVAL_MS) {
      this.#held.set(event.status, event)
      return
    }
    this.#lastSent.set(event.status, now)
    this.#held.delete(event.status)
    this.#deliver(event)
  }

  /** The call ended well: the last event of each status is told if it was held back, so that a bar reaches its end. */
  finish(): void {
    for (const event of this.#held.values()) if (!this.#closed) this.#deliver(event)
    this.close()
  }

  /** The call ended: nothing more is told. */
  close(): void {
    this.#closed = true
    this.#held.clear()
  }

  #deliver(event: EmbeddingProgress): void {
    try {
      this.#callback(event)
    } catch {
      // A callback's own failure is not the call's.
    }
  }
}
