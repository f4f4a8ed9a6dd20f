// The Node side of the protocol that serve.py describes.
import { createInterface } from 'node:readline'

/** This engine cannot run here or cannot run this model; `install` says what would help, if anything. */
export class Unavailable extends Error {
  constructor(kind, message, install) {
    super(message)
    Object.assign(this, { kind, install })
  }
}

// Only the protocol may reach the driver on stdout.
const write = process.stdout.write.bind(process.stdout)
process.stdout.write = process.stderr.write.bind(process.stderr)

/** Means of as many passes as take `least_ms`: wall time, and CPU time of all threads of this process. */
async function timed(work, least_ms) {
  const cpu = process.cpuUsage()
  const begin = performance.now()
  let passes = 0
  let wall = 0
  while (wall < least_ms) {
    await work()
    passes++
    wall = performance.now() - begin
  }
  const { user, system } = process.cpuUsage(cpu)
  return { wall_ms: wall / passes, cpu_ms: (user + system) / 1e3 / passes, passes }
}

/**
 * Answers until stdin ends.
 * @param {(request: object) => Promise<{ info: object, encode(texts: string[]): Promise<Float32Array[]>, count(texts: string[]): Promise<number[]> }>} load
 */
export async function serve(load) {
  let engine
  let texts = []
  const commands = {
    load: async (request) => {
      engine = await load(request)
      return engine.info
    },
    count: async (request) => ({ tokens: await engine.count(request.texts) }),
    texts: async (request) => {
      texts = request.texts
      const vectors = await engine.encode(texts)
      const bytes = Buffer.concat(vectors.map((v) => Buffer.from(v.buffer, v.byteOffset, v.byteLength)))
      return { vectors: bytes.toString('base64'), tokens: await engine.count(texts) }
    },
    run: ({ least_ms }) => timed(() => engine.encode(texts), least_ms),
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    let answer
    try {
      answer = await commands[request.cmd](request)
    } catch (error) {
      const { kind = 'failed', message, install } = error
      answer = { error: { kind, message, install } }
    }
    write(`${JSON.stringify(answer)}\n`)
  }
  // Engines may hold the event loop open.
  process.exit(0)
}
