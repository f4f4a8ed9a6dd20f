/** How long work may hold the event loop before it lets others run. */
const SLICE_MS = 5

/** Lets long work on the main thread pause often enough that timers and sockets are served. */
export class Pacer {
  #since = performance.now()

  /** Whether the time slice is used up. */
  get due(): boolean {
    return performance.now() - this.#since >= SLICE_MS
  }

  /** Gives the event loop one turn, and starts a new slice. */
  async pause(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#since = performance.now()
  }
}
