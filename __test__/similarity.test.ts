import test from 'ava'
import fc from 'fast-check'
import { EmbeddingError, similarity, topK } from 'embedding-engine'

const code = (t: { throws: Function }, action: () => unknown): string =>
  (t.throws(action, { instanceOf: EmbeddingError }) as EmbeddingError).code

test('the cosine of simple vectors', (t) => {
  t.is(similarity([1, 0], [1, 0]), 1)
  t.is(similarity([1, 0], [0, 2]), 0)
  t.is(similarity([3, 0], [-1, 0]), -1)
  t.true(Math.abs(similarity(Float32Array.of(1, 1), [1, 0]) - Math.SQRT1_2) < 1e-9)
})

test('it is symmetric, within bounds, and does not depend on length', (t) => {
  const vector = fc
    .array(fc.integer({ min: -100, max: 100 }), { minLength: 3, maxLength: 3 })
    .filter((v) => v.some((x) => x !== 0))
  fc.assert(
    fc.property(vector, vector, fc.integer({ min: 1, max: 9 }), (a, b, scale) => {
      const score = similarity(a, b)
      t.true(score >= -1 && score <= 1)
      t.true(Math.abs(score - similarity(b, a)) < 1e-12)
      t.true(
        Math.abs(
          score -
            similarity(
              a.map((x) => x * scale),
              b,
            ),
        ) < 1e-9,
      )
    }),
  )
})

test('what has no direction or does not fit is refused', (t) => {
  t.is(
    code(t, () => similarity([0, 0], [1, 0])),
    'INVALID_INPUT',
  )
  t.is(
    code(t, () => similarity([1, 0], [1, 0, 0])),
    'INVALID_INPUT',
  )
  t.is(
    code(t, () => similarity([], [])),
    'INVALID_INPUT',
  )
  t.is(
    code(t, () => similarity([Number.NaN, 1], [1, 0])),
    'INVALID_INPUT',
  )
  t.is(
    code(t, () => similarity('ab' as never, [1, 0])),
    'INVALID_INPUT',
  )
})

test('typed arrays of integers need to be told how they were made', (t) => {
  t.is(
    code(t, () => similarity(Int8Array.of(1), Int8Array.of(1))),
    'INVALID_OPTION',
  )
  t.is(
    code(t, () => topK(Uint8Array.of(1), [], 1)),
    'INVALID_OPTION',
  )
  t.is(similarity(Int8Array.of(127, 0), Int8Array.of(0, 127), { precision: 'int8' }), 0)
  t.is(similarity(Uint8Array.of(255, 128), Uint8Array.of(1, 128), { precision: 'uint8' }), -1)
})

test('bits are compared by how many differ', (t) => {
  const options = { precision: 'ubinary' } as const
  t.is(similarity(Uint8Array.of(0b1111_0000), Uint8Array.of(0b1111_0000), options), 1)
  t.is(similarity(Uint8Array.of(0b1111_0000), Uint8Array.of(0b0000_1111), options), -1)
  t.is(similarity(Uint8Array.of(0b1111_0000), Uint8Array.of(0b1100_0011), options), 0)
  t.is(similarity(Int8Array.of(0b0111_0000), Int8Array.of(-0b1000_0000), { precision: 'binary' }), 0)
})

test('topK sorts, cuts, and keeps equal scores in order', (t) => {
  const vectors = [
    [0, 1],
    [1, 0],
    [1, 1],
    [2, 0],
    [-1, 0],
  ]
  t.deepEqual(
    topK([1, 0], vectors, 3).map(({ index }) => index),
    [1, 3, 2],
  )
  t.is(topK([1, 0], vectors, 99).length, 5)
  t.deepEqual(topK([1, 0], [], 3), [])
})

test('topK agrees with sorting everything', (t) => {
  const vector = fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: 1, max: 9 }))
  fc.assert(
    fc.property(vector, fc.array(vector, { maxLength: 40 }), fc.integer({ min: 1, max: 10 }), (query, vectors, k) => {
      const sorted = vectors
        .map((candidate, index) => ({ index, score: similarity(query, candidate) }))
        .sort((a, b) => b.score - a.score || a.index - b.index)
      t.deepEqual(topK(query, vectors, k), sorted.slice(0, k))
    }),
  )
})

test('topK names what is wrong', (t) => {
  const error = t.throws(
    () =>
      topK(
        [1, 0],
        [
          [1, 0],
          [0, 0],
        ],
        1,
      ),
    { instanceOf: EmbeddingError },
  )
  t.is(error?.details.index, 1)
  t.is(
    code(t, () => topK([1, 0], [[1]], 1)),
    'INVALID_INPUT',
  )
  t.is(
    code(t, () => topK([1, 0], [[1, 0]], 0)),
    'INVALID_INPUT',
  )
})
