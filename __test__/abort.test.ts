import test from 'ava'
import { EmbeddingEngine, embed, embedBatch, preloadModels } from 'embedding-engine'

import { core, untilCalls } from './helpers/fake-core.ts'

const model = 'fake'

test.afterEach(() => core.release())

/** An AbortSignal that tells how many listeners it has. */
function countedSignal() {
  const controller = new AbortController()
  let listeners = 0
  const { signal } = controller
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++
    add(...args)
  }
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--
    remove(...args)
  }
  return { controller, signal, listeners: () => listeners }
}

test.serial('aborted before: rejects with the reason, and the core is not asked', async (t) => {
  const calls = core.calls.length
  const reason = new Error('changed my mind')
  const error = await t.throwsAsync(embed('a', { model, signal: AbortSignal.abort(reason) }))
  t.is(error, reason)
  t.is(core.calls.length, calls)
  await t.throwsAsync(preloadModels('fake', { signal: AbortSignal.abort(reason) }), { is: reason })
})

test.serial('aborted in the turn of the call: the core is not asked', async (t) => {
  const calls = core.calls.length
  const controller = new AbortController()
  const running = embed('a', { model, signal: controller.signal })
  const reason = new Error('at once')
  controller.abort(reason)
  await t.throwsAsync(running, { is: reason })
  t.is(core.calls.length, calls)
})

test.serial('aborted during: rejects at once with the reason, cancels the core, and leaves no listener', async (t) => {
  core.hold()
  const { controller, signal, listeners } = countedSignal()
  const calls = core.calls.length
  const running = embed('a', { model, signal })
  await untilCalls(calls + 1)
  t.is(listeners(), 1)
  controller.abort('any value')
  const thrown = await running.then(
    () => t.fail(),
    (error: unknown) => error,
  )
  t.is(thrown, 'any value')
  t.true(core.calls.at(-1)!.cancelled)
  t.is(listeners(), 0)
})

test.serial('aborted while texts are still being encoded: the core is not asked', async (t) => {
  const calls = core.calls.length
  const controller = new AbortController()
  const texts = Array.from({ length: 500_000 }, (_, i) => `text number ${i}`)
  const running = embedBatch(texts, { model, signal: controller.signal })
  setImmediate(() => controller.abort())
  const error = await t.throwsAsync(running, { any: true })
  t.is((error as Error).name, 'AbortError')
  t.is(core.calls.length, calls)
})

test.serial('aborted after: nothing happens, and no listener is left', async (t) => {
  const { controller, signal, listeners } = countedSignal()
  const { embedding } = await embed('a', { model, signal })
  t.is(listeners(), 0)
  controller.abort()
  t.is(embedding[0], 1)
})

test.serial('a timeout rejects with its TimeoutError', async (t) => {
  core.hold()
  // Neither the timeout nor the stand-in keeps the process alive.
  const alive = setInterval(() => {}, 1000)
  const error = await t.throwsAsync(embed('a', { model, signal: AbortSignal.timeout(20) }), { any: true })
  clearInterval(alive)
  t.is((error as Error).name, 'TimeoutError')
})

test.serial('other calls of the engine are not touched', async (t) => {
  core.hold()
  const engine = new EmbeddingEngine()
  const controller = new AbortController()
  const calls = core.calls.length
  const aborted = engine.embed('a', { model, signal: controller.signal })
  const kept = engine.embed('b', { model })
  await untilCalls(calls + 2)
  controller.abort()
  await t.throwsAsync(aborted, { any: true })
  core.release()
  await t.notThrowsAsync(kept)
})

test.serial('progress ends with an abort', async (t) => {
  core.hold()
  const controller = new AbortController()
  const calls = core.calls.length
  let events = 0
  const running = embed('a', { model: 'chatty', signal: controller.signal, onProgress: () => events++ })
  await untilCalls(calls + 1)
  const before = events
  controller.abort()
  await t.throwsAsync(running, { any: true })
  t.is(events, before, 'a held-back event is not told after the call ended')
})
