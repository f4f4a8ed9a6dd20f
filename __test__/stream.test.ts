import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'
import { embedStream } from 'embedding-engine'
import type { EmbeddingProgress, StreamPart } from 'embedding-engine'

import { first, rejectsWith } from './helpers/errors.ts'
import { core, untilCalls } from './helpers/fake-core.ts'

const model = 'fake'

test.afterEach(() => core.release())

async function collect(parts: AsyncIterable<StreamPart>): Promise<StreamPart[]> {
  const all: StreamPart[] = []
  for await (const part of parts) all.push(part)
  return all
}

/** A source that counts what was read, and notices when it is closed. */
function countingSource(length = Infinity) {
  const state = { read: 0, closed: false }
  async function* source(): AsyncGenerator<string> {
    try {
      while (state.read < length) yield `text ${state.read++}`
    } finally {
      state.closed = true
    }
  }
  return { state, source: source() }
}

test.serial('order, offsets and count are kept, for sync and async sources', async (t) => {
  const texts = Array.from({ length: 1000 }, (_, i) => 'x'.repeat((i % 50) + 1))
  async function* asynchronous(): AsyncGenerator<string> {
    yield* texts
  }
  for (const source of [texts, new Set(texts.map((text, i) => `${i}${text}`)), asynchronous()]) {
    const parts = await collect(embedStream(source, { model, batchSize: 37 }))
    t.deepEqual(
      parts.map((part) => part.offset),
      Array.from({ length: 28 }, (_, i) => i * 37),
    )
    t.is(parts.flatMap((part) => part.embeddings).length, 1000)
  }
  const rows = (await collect(embedStream(texts, { model }))).flatMap((part) => part.embeddings)
  t.deepEqual(
    rows.map((row) => row[0]),
    texts.map((text) => text.length),
  )
})

test.serial('an empty source gives no part', async (t) => {
  t.deepEqual(await collect(embedStream([], { model })), [])
})

test.serial('a part ends early where its texts are long', async (t) => {
  const parts = await collect(
    embedStream(
      Array.from({ length: 10 }, () => 'x'.repeat(50_000)),
      { model },
    ),
  )
  t.deepEqual(
    parts.map((part) => part.embeddings.length),
    [3, 3, 3, 1],
  )
})

test.serial('back-pressure: while the reader holds a part, one more is read and computed, and no more', async (t) => {
  const { state, source } = countingSource()
  const calls = core.calls.length
  const stream = embedStream(source, { model, batchSize: 10 })
  t.is(state.read, 0, 'nothing is read before the first part is asked for')
  await stream.next()
  await sleep(50)
  t.is(state.read, 20)
  t.is(core.calls.length - calls, 2)
  t.true(core.calls.at(-1)!.done, 'the next part is computed while the reader is busy')
  await stream.next()
  await sleep(50)
  t.is(state.read, 30)
  await stream.return()
})

test.serial('leaving the loop closes the source and cancels the core', async (t) => {
  const { state, source } = countingSource()
  for await (const part of embedStream(source, { model, batchSize: 10 })) {
    t.is(part.offset, 0)
    core.hold()
    break
  }
  t.true(state.closed)
  const { read } = state
  await sleep(30)
  t.is(state.read, read)
})

test.serial('return() while a part is being computed does not wait for it', async (t) => {
  core.hold()
  const { state, source } = countingSource()
  const calls = core.calls.length
  const stream = embedStream(source, { model, batchSize: 10 })
  const pending = stream.next()
  await untilCalls(calls + 1)
  await stream.return()
  t.deepEqual(await pending, { done: true, value: undefined })
  t.true(core.calls.at(-1)!.cancelled)
  t.true(state.closed)
})

test.serial('an abort rejects with the reason, also while the source hangs, and closes it', async (t) => {
  let closed = false
  const hanging: AsyncIterable<string> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => {}),
      return: () => {
        closed = true
        return new Promise(() => {})
      },
    }),
  }
  const controller = new AbortController()
  const reason = new Error('enough')
  const reading = first(embedStream(hanging, { model, signal: controller.signal }))
  await sleep(5)
  controller.abort(reason)
  await t.throwsAsync(reading, { is: reason })
  t.true(closed)

  const aborted = countingSource()
  await t.throwsAsync(first(embedStream(aborted.source, { model, signal: AbortSignal.abort(reason) })), { is: reason })
  t.is(aborted.state.read, 0)
})

test.serial('an error of the source arrives after the parts before it', async (t) => {
  const broken = new Error('disk on fire')
  async function* source(): AsyncGenerator<string> {
    for (let i = 0; i < 10; i++) yield 'ok'
    throw broken
  }
  const offsets: number[] = []
  const reading = (async () => {
    for await (const part of embedStream(source(), { model, batchSize: 5 })) offsets.push(part.offset)
  })()
  await t.throwsAsync(reading, { is: broken })
  t.deepEqual(offsets, [0, 5])
})

test.serial('an error of the core names the place in the source', async (t) => {
  const texts = ['a', 'b', 'c', 'd', 'BAD', 'f']
  const error = await rejectsWith(t, collect(embedStream(texts, { model, batchSize: 3 })), 'EMPTY_TEXT', 'text 4')
  t.is(error.details.index, 4)
})

test.serial('a failed stream ends, and its source is closed', async (t) => {
  let closed = false
  function* source(): Generator<string> {
    try {
      for (;;) yield 'BAD'
    } finally {
      closed = true
    }
  }
  const stream = embedStream(source(), { model, batchSize: 2 })
  await rejectsWith(t, stream.next(), 'EMPTY_TEXT')
  t.true(closed)
  t.deepEqual(await stream.next(), { done: true, value: undefined })
})

test.serial('progress counts over the whole stream', async (t) => {
  const seen: EmbeddingProgress[] = []
  const texts = Array.from({ length: 4 }, () => 'x')
  await collect(embedStream(texts, { model: 'chatty', batchSize: 2, onProgress: (event) => seen.push(event) }))
  t.true(seen.length <= 6, `${seen.length} events`)
  t.like(seen.at(-1), { status: 'embedding', done: 1002, total: 4 })
})

test.serial('a stream tells once that its model is ready', async (t) => {
  const seen: string[] = []
  const texts = Array.from({ length: 8 }, () => 'x')
  await collect(embedStream(texts, { model: 'loads', batchSize: 2, onProgress: ({ status }) => seen.push(status) }))
  t.deepEqual(seen.filter((status) => status === 'ready').length, 1)
})
