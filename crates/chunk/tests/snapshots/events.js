'use strict'

const { inherits } = require('util')

/**
 * Calls who listens.
 * @constructor
 */
function Emitter() {
  this.listeners = new Map()
}

// Once for each event.
Emitter.prototype.on = function (event, listener) {
  this.listeners.set(event, listener)
  return this
}

Emitter.prototype.emit = function emit(event, ...values) {
  const listener = this.listeners.get(event)
  if (listener) listener.apply(this, values)
}

class Timer extends Emitter {
  static #timers = 0
  interval = 10

  /** Begins. */
  async start() {
    Timer.#timers++
  }

  stop = () => clearInterval(this.id)
}

const handlers = {
  /** Closes it. */
  close(event) {
    event.stop()
  },
  open: async function (event) {
    await event.go()
  },
  other: 1,
}

function* ids() {
  let id = 0
  while (true) yield id++
}

module.exports = { Emitter, Timer, handlers, ids }
