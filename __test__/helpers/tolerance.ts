/** How near our vectors are to the references: the one place where it is stated. */
export const TOLERANCE = {
  /** Largest difference of a component of unit vectors, with f32 weights. */
  f32: 1e-5,
  /** The same for texts past `longTokens`. */
  f32Long: 2e-5,
  longTokens: 3000,
  /** Smallest cosine, with bf16 weights. */
  bf16Cosine: 0.9995,
} as const

/** The largest difference between components. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!)
    // NaN must not pass for small.
    if (!(difference <= largest)) largest = difference
  }
  return largest
}

/** The cosine of two vectors. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, squaresA, squaresB] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!
    squaresA += a[i]! ** 2
    squaresB += b[i]! ** 2
  }
  return dot / Math.sqrt(squaresA * squaresB)
}
