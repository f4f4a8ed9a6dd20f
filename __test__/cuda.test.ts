import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { model } from './helpers/models.ts'
import { ROOT, runModule, runNode } from './helpers/process.ts'

// Finding NVIDIA cards through the public API, against stand-ins for NVIDIA's libraries. The core's own tests
// (crates/engine/tests/cuda) have every fault; here it is that the process around the probe is Node's.
const onLinux = process.platform === 'linux' && !existsSync('/proc/driver/nvidia') ? test : test.skip
const SOURCES = join(ROOT, 'crates', 'engine', 'tests', 'cuda')

function compile(folder: string, source: string, name: string, ...defines: string[]): void {
  const flags = ['-shared', '-fPIC', `-Wl,-soname,${name}`, ...defines.map((define) => `-D${define}`)]
  execFileSync(process.env.CC ?? 'cc', [...flags, '-o', join(folder, name), join(SOURCES, source)])
}

/** Folders with stand-ins and for our own state, in the variables that name them. */
function machine(t: ExecutionContext, ...defines: string[]): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'embedding-engine-cuda-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  compile(folder, 'driver.c', 'libcuda.so.1', ...defines)
  for (const name of ['libcublasLt.so.12', 'libcublas.so.12', 'libcurand.so.10']) compile(folder, 'toolkit.c', name)
  return { EMBEDDING_ENGINE_CUDA_LIBS: folder, EMBEDDING_ENGINE_HOME: join(folder, 'home') }
}

interface Told {
  cards: { id: string; name: string; available: boolean; reason?: string; memoryFree?: number; details: object }[]
  device?: string
  warnings: string[]
  refused?: { code: string; message: string; attempts: { device: string; library?: string; reason: string }[] }
}

/** Asks for everything in a program of its own: its devices, `auto`, and `cuda` by name. */
const PROGRAM = `
  import { EmbeddingEngine, listDevices } from './dist/index.js'
  const cards = listDevices().filter(({ kind }) => kind === 'cuda')
  const warnings = []
  const logger = { debug() {}, info() {}, warn: (text) => warnings.push(text) }
  const path = ${JSON.stringify(model('bert-mean'))}
  const auto = new EmbeddingEngine({ logger })
  const { model } = await auto.embed('a', { model: path })
  await auto.embed('b', { model: path })
  const own = new EmbeddingEngine({ device: 'cuda' })
  const refused = await own.embed('a', { model: path }).then(() => undefined, (error) => error)
  console.log(JSON.stringify({ cards, warnings, device: model.device,
    refused: refused && { code: refused.code, message: refused.message, attempts: refused.details.attempts } }))
`

async function ask(t: ExecutionContext, env: Record<string, string>): Promise<Told> {
  const { code, signal, stdout, stderr } = await runModule(PROGRAM, { env })
  t.deepEqual([code, signal], [0, null], stderr)
  return JSON.parse(stdout) as Told
}

// An addon without CUDA says so of a card that works. One with CUDA has the probe compute on it as well, which no
// stand-in can do: the child ends, and that is the verdict.
const PLAIN = /has no CUDA encoders/
const CANNOT_COMPUTE = /ended the probe|computing with it/

onLinux('cards that work are listed, each with what is known of it', async (t) => {
  const env = machine(t)
  // What a debugger, a preload or a parent with a channel would put into the environment.
  const { cards, device, warnings, refused } = await ask(t, { ...env, NODE_OPTIONS: '--no-warnings' })
  const plain = PLAIN.test(cards[0]!.reason!)
  t.deepEqual(
    cards.map(({ id, name, memoryFree }) => [id, name, memoryFree]),
    [
      ['cuda:0', 'Stub Card A', plain ? 6 * 2 ** 30 : undefined],
      ['cuda:1', 'Stub Card B', plain ? 20 * 2 ** 30 : undefined],
    ],
  )
  t.like(cards[1]!.details, { computeCapability: '9.0', driverCuda: '12.8' })
  t.true(existsSync(join(env.EMBEDDING_ENGINE_HOME!, 'devices.json')))
  const said = plain ? PLAIN : CANNOT_COMPUTE
  for (const { reason, available } of cards) {
    t.false(available)
    t.regex(reason!, said)
  }
  t.is(device, 'cpu')
  t.is(warnings.length, 1)
  t.regex(warnings[0]!, said)
  t.is(refused?.code, 'DEVICE_UNAVAILABLE')
  t.regex(refused!.message, said)
})

for (const [fault, said] of [
  ['FAULT_ABORT', /SIGABRT/],
  ['FAULT_SYMBOLS', /cuDriverGetVersion/],
  ['FAULT_ERROR', /CUDA_ERROR_UNKNOWN/],
  ['VERSION=12020', /CUDA up to 12\.2/],
] as const) {
  onLinux(`a driver with ${fault}: the program lives, auto takes the CPU and says why, cuda is refused`, async (t) => {
    const { cards, device, warnings, refused } = await ask(t, machine(t, fault))
    t.false(cards.some(({ available }) => available))
    t.regex(cards[0]!.reason!, said)
    t.is(device, 'cpu')
    t.is(warnings.length, 1)
    t.regex(warnings[0]!, said)
    t.is(refused?.code, 'DEVICE_UNAVAILABLE')
    t.regex(refused!.message, said)
    t.true(refused!.attempts.length > 0)
  })
}

onLinux('a driver that finds no card: auto says nothing', async (t) => {
  const { cards, device, warnings, refused } = await ask(t, machine(t, 'FAULT_NO_CARD'))
  t.like(cards, [{ id: 'cuda', available: false }])
  t.deepEqual([device, warnings], ['cpu', []])
  t.is(refused?.code, 'DEVICE_UNAVAILABLE')
})

onLinux('a worker thread can probe as well, and has its own environment', async (t) => {
  const source = `
    const { parentPort } = require('node:worker_threads')
    import(${JSON.stringify(join(ROOT, 'dist', 'index.js'))}).then(({ listDevices }) => {
      parentPort.postMessage(listDevices().filter(({ kind }) => kind === 'cuda').map(({ name }) => name))
    })`
  const worker = new Worker(source, { eval: true, env: { ...process.env, ...machine(t) }, execArgv: [] })
  const names = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  t.deepEqual(names, ['Stub Card A', 'Stub Card B'])
})

onLinux('the doctor tells of the cards', async (t) => {
  const cli = join(ROOT, 'dist', 'lib', 'cli', 'main.js')
  const { stdout } = await runNode([cli, 'doctor'], { env: machine(t) })
  t.regex(
    stdout,
    PLAIN.test(stdout) ? /cuda:1: Stub Card B, 24\.0 GiB, 20\.0 GiB free/ : /cuda:1: Stub Card B, 24\.0 GiB/,
  )
  t.regex(stdout, /computeCapability: 8\.6/)
  t.regex(stdout, /libraries: .*libcuda\.so\.1 \(EMBEDDING_ENGINE_CUDA_LIBS\)/)
})
