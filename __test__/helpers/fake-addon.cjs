// A stand-in for the native addon, loaded by EMBEDDING_ENGINE_ADDON: it shows what the TypeScript side asks of the
// core, and answers when it is told to. Its numbers are no embeddings: component 0 is the text's length in bytes.
const { version } = require('../../package.json')

/** Every call of embed, in order. */
const calls = []
/** Every request of countTokens. */
const counted = []
/** While true, calls wait until they are cancelled, or `release` is called. */
let holding = false
let waiting = []

class CancelToken {
  cancelled = false
  listeners = []
  cancel() {
    this.cancelled = true
    for (const listener of this.listeners) listener()
  }
}

function failure(code, message, details = {}) {
  return new Error(JSON.stringify({ code, message, details }))
}

class NativeEngine {
  constructor(optionsJson) {
    this.options = JSON.parse(optionsJson)
    if (this.options.threads === 999) throw failure('INVALID_OPTION', 'threads is too large', { option: 'threads' })
  }

  async embed(requestJson, text, lengths, cancel, onEvent) {
    const request = JSON.parse(requestJson)
    const call = {
      request,
      text: Buffer.from(text).toString('utf8'),
      lengths: Array.from(lengths),
      cancelled: false,
      done: false,
    }
    calls.push(call)
    cancel.listeners.push(() => (call.cancelled = true))
    for (let i = 0; request.model === 'chatty' && i < 1000; i++) {
      onEvent(JSON.stringify({ status: 'embedding', done: i + 1, total: 1000, tokensPerSecond: 10, etaSeconds: 1 }))
    }
    if (request.model === 'fetched') {
      onEvent(JSON.stringify({ status: 'notice', level: 'warn', message: 'the licence' }))
      for (let i = 0; i < 50; i++) onEvent(JSON.stringify({ status: 'initiate', name: 'o/n', file: `f${i}` }))
      for (let i = 0; i < 50; i++) onEvent(JSON.stringify({ status: 'done', name: 'o/n', file: `f${i}` }))
    }
    if (request.model === 'loads') {
      if (!this.loaded) onEvent(JSON.stringify({ status: 'loading', model: request.model }))
      this.loaded = true
      onEvent(JSON.stringify({ status: 'ready', model: request.model, device: 'fake' }))
    }
    if (holding) {
      await new Promise((resolve) => {
        waiting.push(resolve)
        cancel.listeners.push(resolve)
      })
    } else {
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (cancel.cancelled || this.disposed) throw failure('ABORTED', 'The call was cancelled.')
    if (request.model === 'garbled') throw new Error('not JSON at all')
    const texts = split(text, lengths)
    const bad = texts.findIndex((item) => item.toString('utf8').includes('BAD'))
    if (bad >= 0) throw failure('EMPTY_TEXT', `Text ${bad} has no content.`, { index: bad })
    call.done = true
    const rows = request.chunks ?? texts.map(({ length }) => ({ start: 0, end: length }))
    const data = Float32Array.from(rows.flatMap(({ start, end }) => [end - start, start, 0, 1]))
    return {
      data,
      tokensPerText: Uint32Array.from(rows, () => 3),
      truncated: Uint8Array.from(rows, () => 0),
      report: JSON.stringify({
        dimensions: 4,
        model: { id: request.model, device: 'fake' },
        space: 'fake',
        tokens: 3 * rows.length,
      }),
    }
  }

  async countTokens(requestJson, _text, lengths) {
    counted.push(JSON.parse(requestJson))
    return lengths
  }

  async preload(requestJson) {
    const { model } = JSON.parse(requestJson)
    if (model.startsWith('missing')) throw failure('MODEL_NOT_FOUND', `There is no ${model}.`)
    return JSON.stringify({ id: model })
  }

  async dispose() {
    this.disposed = true
    release()
  }
}

function split(text, lengths) {
  let offset = 0
  return Array.from(lengths, (length) => Buffer.from(text.subarray(offset, (offset += length))))
}

function hold() {
  holding = true
}

function release() {
  holding = false
  for (const resume of waiting.splice(0)) resume()
}

module.exports = {
  NativeEngine,
  CancelToken,
  listDevices: () => JSON.stringify([{ id: 'cpu', kind: 'cpu', name: 'Fake', available: true, details: {} }]),
  listModels: () => '[]',
  doctor: () => '{}',
  hubStatus: async () => JSON.stringify({ endpoint: 'http://fake', offline: true, token: false }),
  version: () => version,
  // For the tests alone:
  calls,
  counted,
  hold,
  release,
}
