// What a download costs: requests and bytes of a first, a second and a resumed start, speed, memory, and the time to
// hash a file again. The hub is one on loopback, in a process of its own.
//   node --import @oxc-node/core/register benches/hub.mjs [--mb 1000]
import { fork, spawn } from 'node:child_process'
import { createCipheriv } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { Hub } from '../__test__/helpers/hub/server.ts'
import { model } from '../__test__/helpers/models.ts'

const COMMIT = '0123456789abcdef0123456789abcdef01234567'
const WEIGHTS = /cdn GET .*\/model\.safetensors/

if (process.argv[2] === 'serve') await serve(process.argv[3])
else await measure()

/** The hub's process: answers questions about what it was asked. */
async function serve(folder) {
  const hub = await Hub.start()
  hub.add('o/big', folder, COMMIT)
  process.on('message', ({ cut }) => {
    process.send({ requests: hub.asked.length, bytes: hub.bytes(), weights: hub.bytes(WEIGHTS) })
    hub.asked.length = 0
    hub.heal()
    if (cut) {
      hub.fail(WEIGHTS, { times: 1, cutAfter: cut })
      hub.fail(WEIGHTS, { status: 404 })
    }
  })
  process.send({ url: hub.url })
}

async function measure() {
  const { values } = parseArgs({ options: { mb: { type: 'string', default: '1000' } } })
  const bytes = Number(values.mb) * 1e6
  const place = mkdtempSync(join(tmpdir(), 'embedding-engine-bench-hub-'))
  try {
    const folder = join(place, 'model')
    cpSync(model('plain-bert'), folder, { recursive: true, dereference: true })
    // Random bytes: nothing on the way can make them fewer. Downloading does not look into the weights.
    const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16))
    // In pieces: what this process once held, its children would be charged with.
    const weights = join(folder, 'model.safetensors')
    writeFileSync(weights, '')
    for (let at = 0; at < bytes; at += 1e7)
      appendFileSync(weights, cipher.update(Buffer.alloc(Math.min(1e7, bytes - at))))
    const server = fork(import.meta.filename, ['serve', folder], { execArgv: process.execArgv })
    const [{ url }] = await once(server, 'message')
    const ask = async (question = {}) => {
      const answer = once(server, 'message')
      server.send(question)
      return (await answer)[0]
    }
    console.log(
      `machine: ${cpus().length} × ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GiB; file: ${values.mb} MB`,
    )

    const cache = join(place, 'cache')
    const idle = await run(url, cache, 'idle')
    const first = await run(url, cache, 'download')
    report('first start', first, await ask())
    console.log(
      `  memory: ${mib(first.peak - idle.peak)} over an idle engine (${mib(idle.peak)}), largest resident set`,
    )
    report('second start', await run(url, cache, 'download'), await ask())
    report('second start, pinned', await run(url, cache, 'pinned'), await ask({ cut: bytes / 2 }))
    const half = join(place, 'half')
    const broken = await run(url, half, 'download')
    report('broken in the middle', broken, await ask())
    report('resumed start', await run(url, half, 'download'), await ask())
    const verified = await run(url, cache, 'verify')
    console.log(`verify: ${verified.seconds.toFixed(2)} s for ${values.mb} MB, ${speed(bytes, verified.seconds)}`)
    server.disconnect()
    server.kill()
  } finally {
    rmSync(place, { recursive: true, force: true })
  }

  function report(name, { seconds, code }, { requests, bytes: sent, weights }) {
    const rate = weights > 1e6 ? `, ${speed(weights, seconds)}` : ''
    const failed = code ? ` (${code}, as it should)` : ''
    console.log(`${name}: ${requests} requests, ${sent} bytes, ${seconds.toFixed(2)} s${rate}${failed}`)
  }
}

/** Work in a process of its own, so that its memory is its own: seconds, the largest resident set, an error's code. */
async function run(url, cache, work) {
  const source = `
    import { EmbeddingEngine } from 'embedding-engine'
    const engine = new EmbeddingEngine({ endpoint: '${url}', cacheDir: '${cache}', home: '${cache}-home' })
    const works = {
      idle: () => engine.verify('o/none').catch(() => {}),
      download: () => engine.download('o/big'),
      pinned: () => engine.download('o/big@${COMMIT}'),
      verify: () => engine.verify('o/big'),
    }
    const begin = performance.now()
    let code
    await works['${work}']().catch((error) => (code = error.code))
    const seconds = (performance.now() - begin) / 1000
    console.log(JSON.stringify({ seconds, peak: process.resourceUsage().maxRSS * 1024, code }))`
  const env = { ...process.env, HF_HUB_OFFLINE: '', NO_PROXY: '127.0.0.1' }
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: join(import.meta.dirname, '..'),
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (part) => (out += part))
  await once(child, 'close')
  return JSON.parse(out)
}

function mib(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

function speed(bytes, seconds) {
  return `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`
}
