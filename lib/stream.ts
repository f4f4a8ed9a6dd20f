import { EmbeddingError, invalidInput } from './errors.ts'
import type { Precision, StreamOptions } from './options.ts'
import { ProgressRelay } from './progress.ts'
import type { ProgressCallback } from './progress.ts'
import type { BatchResult, StreamPart } from './results.ts'
import { show } from './show.ts'
import { checkStreamOptions, checkText } from './validate.ts'

/** Where a stream's texts come from. */
export type TextSource = Iterable<string> | AsyncIterable<string>

/** Embeds the texts of one part. */
export type EmbedPart<P extends Precision> = (
  texts: string[],
  options: { signal: AbortSignal; onProgress: ProgressCallback | undefined },
) => Promise<BatchResult<P>>

/** Default of `batchSize`. */
const PART_TEXTS = 128
/** A part ends once its texts hold this many UTF-16 units. */
const PART_UNITS = 128 * 1024
/** Why the work behind a stream stops when its reader leaves; never seen outside. */
const LEFT = new Error('The reader left the stream.')

/**
 * Embeds a source part by part. While the reader handles one part, the next is read and computed, and no more
 * than that: memory holds two parts, however long the source is.
 */
export function streamParts<P extends Precision>(
  source: TextSource,
  options: StreamOptions<P>,
  embedPart: EmbedPart<P>,
): AsyncGenerator<StreamPart<P>, void, undefined> {
  const stop = new AbortController()
  const parts = generateParts(source, options, embedPart, stop)
  // A generator alone would let return() wait for the part that is being computed.
  return {
    async next() {
      try {
        return await parts.next()
      } catch (error) {
        if (error === LEFT) return { done: true, value: undefined }
        throw error
      }
    },
    return(value) {
      stop.abort(LEFT)
      return parts.return(value as undefined)
    },
    throw(error) {
      stop.abort(LEFT)
      return parts.throw(error)
    },
    [Symbol.asyncIterator]() {
      return this
    },
    async [Symbol.asyncDispose]() {
      await this.return()
    },
  }
}

async function* generateParts<P extends Precision>(
  source: TextSource,
  options: StreamOptions<P>,
  embedPart: EmbedPart<P>,
  stop: AbortController,
): AsyncGenerator<StreamPart<P>, void, undefined> {
  checkStreamOptions('embedStream', options)
  const { signal } = options
  signal?.throwIfAborted()
  const onAbort = (): void => stop.abort(signal!.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const reader = new PartReader(source, options.batchSize ?? PART_TEXTS, stop.signal)
  const progress = options.onProgress && new StreamProgress(options.onProgress, source)

  const computeNext = async (): Promise<StreamPart<P> | undefined> => {
    const { texts, offset } = await reader.read()
    if (texts.length === 0) return undefined
    try {
      return { offset, ...(await embedPart(texts, { signal: stop.signal, onProgress: progress?.from(offset) })) }
    } catch (error) {
      throw inStream(error, offset)
    }
  }

  try {
    let part = await orStopped(computeNext(), stop.signal)
    while (part) {
      const following = computeNext()
      // Its failure is told when its turn comes.
      following.catch(() => {})
      yield part
      part = await orStopped(following, stop.signal)
    }
    progress?.finish()
  } finally {
    signal?.removeEventListener('abort', onAbort)
    stop.abort(LEFT)
    await reader.close()
  }
}

/** Takes texts out of a source, one part at a time. */
class PartReader {
  readonly #iterator: Iterator<unknown> | AsyncIterator<unknown>
  readonly #isAsync: boolean
  readonly #batchSize: number
  readonly #signal: AbortSignal
  #offset = 0
  #reading = false
  #ended = false

  constructor(source: TextSource, batchSize: number, signal: AbortSignal) {
    const { iterator, isAsync } = iteratorOf(source)
    this.#iterator = iterator
    this.#isAsync = isAsync
    this.#batchSize = batchSize
    this.#signal = signal
  }

  /** The next part; no texts at the end of the source. */
  async read(): Promise<{ texts: string[]; offset: number }> {
    const texts: string[] = []
    const offset = this.#offset
    let units = 0
    while (!this.#ended && texts.length < this.#batchSize && units < PART_UNITS) {
      this.#signal.throwIfAborted()
      const { done, value } = await this.#next()
      if (done) break
      checkText(value, this.#offset)
      texts.push(value)
      units += value.length
      this.#offset++
    }
    return { texts, offset }
  }

  async #next(): Promise<IteratorResult<unknown>> {
    this.#reading = true
    try {
      const step = this.#iterator.next()
      const result = this.#isAsync
        ? await orStopped(Promise.resolve(step), this.#signal)
        : (step as IteratorResult<unknown>)
      this.#reading = false
      this.#ended = result.done === true
      return result
    } catch (error) {
      // A source that threw has ended; one that was left while it was being read has not.
      if (!this.#signal.aborted) {
        this.#reading = false
        this.#ended = true
      }
      throw error
    }
  }

  /** Lets the source clean up. A source that hangs in `next` cannot be waited for. */
  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    const closing = Promise.resolve(this.#iterator.return?.())
    if (this.#reading) closing.catch(() => {})
    else await closing
  }
}

function iteratorOf(source: unknown): { iterator: Iterator<unknown> | AsyncIterator<unknown>; isAsync: boolean } {
  if (typeof source === 'string') {
    throw invalidInput('embedStream takes an iterable of strings, not one string. Put a single one into an array.')
  }
  const iterable = source as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined
  const asynchronous = iterable?.[Symbol.asyncIterator]?.()
  if (asynchronous) return { iterator: asynchronous, isAsync: true }
  const synchronous = iterable?.[Symbol.iterator]?.()
  if (synchronous) return { iterator: synchronous, isAsync: false }
  throw invalidInput(`embedStream takes an iterable or async iterable of strings, not ${show(source)}.`)
}

/** Waits for a promise, or for the signal, whichever comes first. */
async function orStopped<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined
  const stopped = new Promise<never>((_, reject) => {
    onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, stopped])
  } finally {
    signal.removeEventListener('abort', onAbort!)
  }
}

/** The progress of a whole stream, out of the progress of its parts. */
class StreamProgress {
  readonly #relay: ProgressRelay
  readonly #total: number | undefined
  readonly #begin = performance.now()
  #ready = false

  constructor(callback: ProgressCallback, source: TextSource) {
    this.#relay = new ProgressRelay(callback)
    this.#total = Array.isArray(source) ? source.length : undefined
  }

  /** What the part that begins at `offset` reports to. */
  from(offset: number): ProgressCallback {
    return (event) => {
      if (event.status !== 'embedding') {
        // Each part hears that the model is ready; the stream tells it once, and again after it was loaded again.
        if (!(event.status === 'ready' && this.#ready)) this.#relay.send(event)
        this.#ready = event.status === 'ready'
        return
      }
      const done = offset + event.done
      const known = this.#total === undefined ? {} : { total: this.#total, etaSeconds: this.#eta(done, this.#total) }
      this.#relay.send({ status: 'embedding', done, tokensPerSecond: event.tokensPerSecond, ...known })
    }
  }

  finish(): void {
    this.#relay.finish()
  }

  /** At the pace of the texts so far. */
  #eta(done: number, total: number): number {
    const seconds = (performance.now() - this.#begin) / 1000
    return done > 0 ? (seconds / done) * (total - done) : 0
  }
}

/** An error that names a text by its place in its part names it by its place in the source. */
function inStream(error: unknown, offset: number): unknown {
  if (!(error instanceof EmbeddingError) || typeof error.details.index !== 'number' || offset === 0) return error
  const index = error.details.index + offset
  const message = `${error.message} (Counted from text ${offset} of the stream: there it is text ${index}.)`
  return new EmbeddingError(error.code, message, { details: { ...error.details, index }, cause: error })
}
