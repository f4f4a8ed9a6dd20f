import { invalidInput } from './errors.ts'
import { Pacer } from './pace.ts'
import { checkText } from './validate.ts'

/** Texts as the core takes them: the UTF-8 of all, one after another, and the bytes of each. */
export interface EncodedTexts {
  bytes: Uint8Array
  lengths: Uint32Array
}

/** A longer text is encoded in pieces of this many UTF-16 units, so that one huge text does not stall the event loop. */
const PIECE = 1 << 18
/** The clock is looked at once in this many texts. */
const STRIDE = 64
/** What one call may hold; more belongs into a stream. */
const MAX_BYTES = 2 ** 31 - 1

/**
 * Checks that all are strings, and encodes them as UTF-8 (lone surrogates become U+FFFD) in slices between
 * which the event loop runs.
 *
 * @throws EmbeddingError `INVALID_INPUT` with the index of what is not a string; the signal's reason
 */
export async function encodeTexts(
  input: readonly unknown[],
  options: { signal?: AbortSignal | undefined; single?: boolean } = {},
): Promise<EncodedTexts> {
  // A copy: the caller may change the array while this waits.
  const texts = input.slice()
  const pacer = new Pacer()
  const lengths = new Uint32Array(texts.length)
  let total = 0
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i]
    checkText(text, options.single ? undefined : i)
    if (text.length <= PIECE) {
      total += lengths[i] = Buffer.byteLength(text)
    } else {
      let length = 0
      for (const piece of pieces(text)) {
        length += Buffer.byteLength(piece)
        if (pacer.due) await pause(pacer, options.signal)
      }
      checkTotal(length, texts.length)
      total += lengths[i] = length
    }
    checkTotal(total, texts.length)
    if (i % STRIDE === 0 && pacer.due) await pause(pacer, options.signal)
  }

  // Not from Buffer's shared pool: the core reads this memory while other code runs.
  const bytes = Buffer.allocUnsafeSlow(total)
  let offset = 0
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i] as string
    if (text.length <= PIECE) {
      offset += bytes.write(text, offset)
    } else {
      for (const piece of pieces(text)) {
        offset += bytes.write(piece, offset)
        if (pacer.due) await pause(pacer, options.signal)
      }
    }
    if (i % STRIDE === 0 && pacer.due) await pause(pacer, options.signal)
  }
  return { bytes, lengths }
}

async function pause(pacer: Pacer, signal: AbortSignal | undefined): Promise<void> {
  await pacer.pause()
  signal?.throwIfAborted()
}

function checkTotal(bytes: number, texts: number): void {
  if (bytes <= MAX_BYTES) return
  throw invalidInput(
    `The ${texts} texts of this call take more than ${MAX_BYTES} bytes as UTF-8. Pass them to embedStream, which has no limit.`,
    { bytes, limit: MAX_BYTES },
  )
}

/** Cuts a text into pieces without cutting a surrogate pair in two. */
function* pieces(text: string): Generator<string> {
  for (let start = 0; start < text.length;) {
    const end = wholeCharacterEnd(text, Math.min(start + PIECE, text.length))
    yield text.slice(start, end)
    start = end
  }
}

/** The given place, or the one after it if it lies inside a surrogate pair. */
export function wholeCharacterEnd(text: string, end: number): number {
  return splitsPair(text, end) ? end + 1 : end
}

/** The given place, or the one before it if it lies inside a surrogate pair. */
export function wholeCharacterStart(text: string, start: number): number {
  return splitsPair(text, start) ? start - 1 : start
}

function splitsPair(text: string, at: number): boolean {
  if (at <= 0 || at >= text.length) return false
  const before = text.charCodeAt(at - 1)
  const after = text.charCodeAt(at)
  return before >= 0xd800 && before <= 0xdbff && after >= 0xdc00 && after <= 0xdfff
}
