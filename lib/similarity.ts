import { EmbeddingError, invalidInput, invalidOption } from './errors.ts'
import type { Precision } from './options.ts'
import { show } from './show.ts'
import { PRECISIONS } from './validate.ts'

/** A vector: numbers, or one of the typed arrays that this package gives. */
export type Vector = readonly number[] | Float32Array | Float64Array | Int8Array | Uint8Array

/** Options of {@link similarity} and {@link topK}. */
export interface SimilarityOptions {
  /**
   * How the vectors were made. Must be given for `Int8Array` (`int8` or `binary`) and `Uint8Array` (`uint8` or
   * `ubinary`), whose numbers alone do not tell.
   * @defaultValue `'float32'`
   * @example
   * ```ts
   * similarity(a, b, { precision: 'binary' })
   * ```
   */
  precision?: Precision
}

/** A vector's place among those that were searched, and how near it is. */
export interface ScoredIndex {
  /** The place. */
  index: number
  /** The cosine, from -1 to 1. */
  score: number
}

/**
 * The cosine of two vectors, from -1 to 1. For `binary` and `ubinary` it is that of the sign vectors:
 * 1 - 2 × (bits that differ) / (bits).
 *
 * @throws EmbeddingError `INVALID_INPUT` if they differ in length, are empty, hold what is not finite, or have no
 * direction (all zero); `INVALID_OPTION` if `precision` is needed and missing
 * @example
 * ```ts
 * const { embeddings } = await embedBatch(['a cat', 'a kitten'])
 * similarity(embeddings[0], embeddings[1]) // 0.9…
 * ```
 */
export function similarity(a: Vector, b: Vector, options: SimilarityOptions = {}): number {
  const precision = precisionOf([a, b], options)
  const prepared = prepare(a, precision, 'The first vector')
  return cosine(prepared, prepare(b, precision, 'The second vector'), 'The second vector')
}

/**
 * The `k` vectors nearest to the query by cosine, nearest first; equal scores in the order of their places.
 * Fewer if there are fewer.
 *
 * @throws EmbeddingError as {@link similarity} does, naming the vector's place
 * @example
 * ```ts
 * const { embedding } = await embed('where are retries handled', { task: 'query' })
 * for (const { index, score } of topK(embedding, embeddings, 5)) console.log(score, texts[index])
 * ```
 */
export function topK(
  query: Vector,
  vectors: readonly Vector[],
  k: number,
  options: SimilarityOptions = {},
): ScoredIndex[] {
  if (!Array.isArray(vectors)) throw invalidInput(`vectors must be an array of vectors, not ${show(vectors)}.`)
  if (!Number.isSafeInteger(k) || k < 1) throw invalidInput(`k must be a whole number above 0, not ${show(k)}.`)
  const precision = precisionOf([query, ...vectors.slice(0, 1)], options)
  const prepared = prepare(query, precision, 'The query')
  const best: ScoredIndex[] = []
  for (let index = 0; index < vectors.length; index++) {
    const name = `Vector ${index}`
    const score = cosine(prepared, prepare(vectors[index]!, precision, name, index), name, index)
    if (best.length === k && score <= best[k - 1]!.score) continue
    if (best.length === k) best.pop()
    best.splice(insertionPlace(best, score), 0, { index, score })
  }
  return best
}

/** After all that score as high or higher, which keeps equal scores in order. */
function insertionPlace(best: readonly ScoredIndex[], score: number): number {
  let low = 0
  let high = best.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (best[middle]!.score >= score) low = middle + 1
    else high = middle
  }
  return low
}

function precisionOf(vectors: readonly unknown[], { precision }: SimilarityOptions): Precision {
  if (precision !== undefined) {
    if (PRECISIONS.includes(precision)) return precision
    throw invalidOption(
      'precision',
      `Option 'precision' must be one of ${PRECISIONS.join(', ')}, not ${show(precision)}.`,
      precision,
    )
  }
  for (const vector of vectors) {
    const choice =
      vector instanceof Int8Array
        ? "'int8' or 'binary'"
        : vector instanceof Uint8Array
          ? "'uint8' or 'ubinary'"
          : undefined
    if (choice) {
      throw invalidOption(
        'precision',
        `The numbers of ${show(vector)} do not tell how it was made: pass precision: ${choice}.`,
      )
    }
  }
  return 'float32'
}

/** A vector that was checked, with what each comparison needs of it. */
interface Prepared {
  vector: Vector
  bits: boolean
  /** What stands for zero: uint8 vectors are int8 ones moved up by 128. */
  zero: number
  norm: number
}

function prepare(vector: Vector, precision: Precision, name: string, index?: number): Prepared {
  if (!Array.isArray(vector) && !(ArrayBuffer.isView(vector) && !(vector instanceof DataView))) {
    throw invalidInput(`${name} must be an array of numbers or a typed array, not ${show(vector)}.`, { index })
  }
  if (vector.length === 0) throw invalidInput(`${name} is empty.`, { index })
  if (precision === 'binary' || precision === 'ubinary') return { vector, bits: true, zero: 0, norm: 1 }
  const zero = precision === 'uint8' ? 128 : 0
  let squares = 0
  for (let i = 0; i < vector.length; i++) squares += (vector[i]! - zero) ** 2
  if (!Number.isFinite(squares)) throw invalidInput(`${name} holds something that is not a finite number.`, { index })
  if (squares === 0) throw invalidInput(`${name} is all zeros, so it has no direction to compare.`, { index })
  return { vector, bits: false, zero, norm: Math.sqrt(squares) }
}

function cosine(a: Prepared, b: Prepared, nameOfB: string, index?: number): number {
  if (a.vector.length !== b.vector.length) {
    throw new EmbeddingError(
      'INVALID_INPUT',
      `${nameOfB} has ${b.vector.length} components, the one that it is compared with ${a.vector.length}: they are from different models or dimensions.`,
      { details: { index } },
    )
  }
  if (a.bits) return 1 - (2 * differingBits(a.vector, b.vector)) / (a.vector.length * 8)
  let dot = 0
  for (let i = 0; i < a.vector.length; i++) dot += (a.vector[i]! - a.zero) * (b.vector[i]! - b.zero)
  return Math.min(1, Math.max(-1, dot / (a.norm * b.norm)))
}

const ONES = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length)

function differingBits(a: Vector, b: Vector): number {
  let bits = 0
  for (let i = 0; i < a.length; i++) bits += ONES[(a[i]! ^ b[i]!) & 255]!
  return bits
}
