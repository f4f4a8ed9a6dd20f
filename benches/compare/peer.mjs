// One engine under measurement: a child process that answers JSON lines.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** What a worker answered in place of a result, or how it died. `kind` stands in its row of the table. */
export class PeerError extends Error {
  constructor({ kind, message, install }) {
    super(message)
    Object.assign(this, { kind, install })
  }
}

export class Peer {
  #child
  #waiting
  #dead
  #stderr = ''

  /** @param {{ name: string, precision: string, command: string[], env?: object, missing?: string }} engine `missing`: what to do where the command does not exist */
  constructor(engine, verbose) {
    Object.assign(this, engine)
    const [file, ...args] = engine.command
    this.#child = spawn(file, args, { env: { ...process.env, ...engine.env }, stdio: 'pipe' })
    this.#child.stderr.on('data', (data) => {
      if (verbose) process.stderr.write(data)
      this.#stderr = (this.#stderr + data).slice(-4000)
    })
    this.#child.stdin.on('error', () => {}) // told by 'close'
    this.#child.on('error', (error) =>
      this.#end(
        error.code === 'ENOENT' ? ['not installed', `${file} is not found`, engine.missing] : ['failed', error.message],
      ),
    )
    this.#child.on('close', (code, signal) => {
      const last = this.#stderr.trim().split('\n').at(-1)
      this.#end(['failed', `the worker ended (${signal ?? `exit code ${code}`})${last ? `: ${last}` : ''}`])
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return // a native library's own words
      const answer = JSON.parse(line)
      const { resolve, reject } = this.#waiting
      this.#waiting = undefined
      if (answer.error) reject(new PeerError(answer.error))
      else resolve(answer)
    })
  }

  #end([kind, message, install]) {
    this.#dead ??= new PeerError({ kind, message, install })
    this.#waiting?.reject(this.#dead)
    this.#waiting = undefined
  }

  /** One request; its answer. */
  ask(request) {
    return new Promise((resolve, reject) => {
      if (this.#dead) return reject(this.#dead)
      this.#waiting = { resolve, reject }
      this.#child.stdin.write(`${JSON.stringify(request)}\n`)
    })
  }

  /** Lets the process end. */
  close() {
    this.#child.stdin.end()
  }
}
