/**
 * What {@link CallOptions.onProgress} is told: the files that are fetched (in the shapes of transformers.js, `name`
 * being the hub id), then the model, then the texts.
 */
export type EmbeddingProgress =
  /** A file of the model is needed and not there. */
  | { status: 'initiate'; name: string; file: string }
  /** Its transfer begins, or goes on where an earlier one stopped. */
  | { status: 'download'; name: string; file: string }
  /** How far it is, in bytes; `loaded` counts what an earlier call fetched, the speed is that of the last seconds. */
  | {
      status: 'progress'
      name: string
      file: string
      /** 0 to 100. */
      progress: number
      loaded: number
      total: number
      bytesPerSecond: number
      /** Missing while nothing is known about the speed. */
      etaSeconds?: number
    }
  /** How far all files are that are known to be needed so far. */
  | {
      status: 'progress_total'
      name: string
      /** 0 to 100. */
      progress: number
      loaded: number
      total: number
      bytesPerSecond: number
      /** Missing while nothing is known about the speed. */
      etaSeconds?: number
      files: Record<string, { loaded: number; total: number }>
    }
  /** The file is verified and in its place. */
  | { status: 'done'; name: string; file: string }
  /** The model's weights are being loaded. */
  | { status: 'loading'; model: string }
  /** The model can be used. */
  | { status: 'ready'; model: string; device: string }
  /**
   * How far the texts are. `total` and `etaSeconds` are missing only where it is not known yet how many texts there
   * are: in a stream whose source does not say, and in the update of an index.
   */
  | { status: 'embedding'; done: number; total?: number; tokensPerSecond: number; etaSeconds?: number }
  /** Another update of the same index runs already, here or in another process: it is waited for. */
  | { status: 'waiting' }
  /** How far an update of an index is. */
  | {
      status: 'indexing'
      /** The last file that was stored. */
      file: string
      /** Files that are up to date. */
      done: number
      /** Files of the folder. */
      total: number
      /** Chunks of the files that were stored so far. */
      chunks: number
      /** What the model has read so far. */
      tokens: number
      tokensPerSecond: number
      /** Missing while nothing is known about the speed. */
      etaSeconds?: number
    }

/** Told how far a call is. */
export type ProgressCallback = (progress: EmbeddingProgress) => void

/** Between two events of one status: ten a second. */
const INTERVAL_MS = 100

/** Told once a file: whoever shows files has to hear of each. */
const STEPS: ReadonlySet<string> = new Set(['initiate', 'download', 'done'])

/**
 * Stands between the core and a user's callback: at most ten events a second for each status that tells how far
 * something is, nothing after the call ended, and what the callback throws goes nowhere, because a throw would end
 * the process.
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
    if (STEPS.has(event.status)) {
      this.#deliver(event)
      return
    }
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
