import { wholeCharacterEnd, wholeCharacterStart } from './encode.ts'
import { invalidInput } from './errors.ts'
import { checkArray } from './validate.ts'
import { show } from './show.ts'

/** A part of a document, in UTF-16 units as `String.prototype.slice` counts them. */
export interface ChunkRange {
  /** The first unit. */
  start: number
  /** One past the last unit. */
  end: number
}

/** Refuses ranges that are not inside the document. */
export function checkChunks(chunks: unknown, documentLength: number): asserts chunks is readonly ChunkRange[] {
  checkArray(chunks, 'chunks')
  for (const [index, chunk] of chunks.entries()) {
    const { start, end } = (chunk ?? {}) as Partial<ChunkRange>
    const fits =
      Number.isSafeInteger(start) && Number.isSafeInteger(end) && start! >= 0 && start! < end! && end! <= documentLength
    if (fits) continue
    const found =
      typeof chunk === 'object' && chunk !== null ? `{ start: ${show(start)}, end: ${show(end)} }` : show(chunk)
    throw invalidInput(
      `Chunk ${index} must be { start, end } with whole numbers, 0 <= start < end <= ${documentLength} (the document's length), not ${found}.`,
      { index, start, end, length: documentLength },
    )
  }
}

/**
 * Ranges in bytes of the document's UTF-8. A bound inside a surrogate pair takes the whole character in, since
 * half of one is no text.
 */
export function toByteRanges(document: string, chunks: readonly ChunkRange[]): { start: number; end: number }[] {
  const whole = chunks.map(({ start, end }) => ({
    start: wholeCharacterStart(document, start),
    end: wholeCharacterEnd(document, end),
  }))
  const places = [...new Set(whole.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b)
  const bytesBefore = new Map<number, number>()
  let place = 0
  let bytes = 0
  for (const next of places) {
    bytes += Buffer.byteLength(document.slice(place, next))
    place = next
    bytesBefore.set(place, bytes)
  }
  return whole.map(({ start, end }) => ({ start: bytesBefore.get(start)!, end: bytesBefore.get(end)! }))
}
