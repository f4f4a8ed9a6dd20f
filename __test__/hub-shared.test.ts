// Several who want the same model: calls, engines and processes; those who leave; and the ways to the hub.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import test from 'ava'
import type { EmbeddingProgress } from 'embedding-engine'

import {
  COMMIT,
  SOON_MS,
  cleanEnv,
  engineOn,
  startHub,
  temporary,
  treeOf,
  unfinished,
  until,
} from './helpers/hub/engine.ts'
import { WEIGHTS, WEIGHTS_SIZE, startHubWithModel } from './helpers/hub/model.ts'
import { startCli, startDownload, startProgram } from './helpers/hub/process.ts'
import { model } from './helpers/models.ts'
import { ROOT, runModule } from './helpers/process.ts'

/** What a promise rejects with. */
function reason(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'nothing',
    (error: unknown) => error,
  )
}

test('20 calls at once share one download, and one that leaves does not end it', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { bytesPerSecond: 1_500_000 })
  const { engine, log } = engineOn(t, hub)
  const controller = new AbortController()
  const progress: EmbeddingProgress[][] = []
  const calls = Array.from({ length: 20 }, (_, i) => {
    const events: EmbeddingProgress[] = []
    progress.push(events)
    const signal = i === 0 ? controller.signal : undefined
    return engine.embed(`text ${i}`, { model: 'o/n', signal, onProgress: (event) => void events.push(event) })
  })
  const first = reason(calls[0]!)
  await until(() => hub.bytes(WEIGHTS) > 100_000, 'the weights have begun')
  // One that comes late hears what has happened.
  const late: EmbeddingProgress[] = []
  calls.push(engine.embed('late', { model: 'o/n', onProgress: (event) => void late.push(event) }))
  controller.abort()
  t.is(await first, controller.signal.reason)
  const rest = await Promise.all(calls.slice(1))
  t.is(rest.length, 20)
  t.is(hub.count(WEIGHTS), 1)
  t.is(hub.count(/revision/), 1)
  t.is(hub.bytes(WEIGHTS), WEIGHTS_SIZE)
  t.is(log.warn.length, 1, 'the missing licence, once')
  for (const events of [...progress.slice(1), late]) {
    for (const status of ['initiate', 'download', 'done']) {
      const files = events.flatMap((event) => (event.status === status && 'file' in event ? [event.file] : []))
      t.true(files.includes('model.safetensors'), status)
      t.is(new Set(files).size, files.length, 'each file once')
    }
  }
})

test('an abort of the only call ends the download within a second, and leaves what came', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { times: 1, bytesPerSecond: 300_000 })
  const { engine, cache } = engineOn(t, hub)
  const controller = new AbortController()
  const call = engine.embed('a', { model: 'o/n', signal: controller.signal })
  const failed = reason(call)
  await until(() => (unfinished(cache)?.content.length ?? 0) > 50_000, 'some of the weights')
  const begin = performance.now()
  controller.abort()
  const error = await failed
  t.true(performance.now() - begin < SOON_MS)
  t.is(error, controller.signal.reason)
  // Nobody takes bytes from the hub any more.
  const at = unfinished(cache)!.content.length
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const came = unfinished(cache)!.content.length
  t.true(came - at < 300_000, `${came - at} bytes more`)
  const later = came
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.is(unfinished(cache)!.content.length, later)
  hub.heal()
  hub.asked.length = 0
  await engine.embed('a', { model: 'o/n' })
  t.is(hub.bytes(WEIGHTS), WEIGHTS_SIZE - later)
})

test('disposing of the engine ends its download', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { stallAfter: 100_000 })
  const { engine, cache } = engineOn(t, hub)
  const failed = t.throwsAsync(engine.embed('a', { model: 'o/n' }), { code: 'DISPOSED' })
  await until(() => (unfinished(cache)?.content.length ?? 0) >= 100_000, 'some of the weights')
  const begin = performance.now()
  await engine.dispose()
  t.true(performance.now() - begin < SOON_MS)
  await failed
})

test('two engines of a process fetch one copy', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { bytesPerSecond: 2_000_000 })
  const a = engineOn(t, hub)
  const b = engineOn(t, hub, { cacheDir: a.cache })
  await Promise.all([a, b].map(({ engine }) => engine.embed('a', { model: 'o/n' })))
  t.is(hub.bytes(WEIGHTS), WEIGHTS_SIZE)
})

test('two processes fetch one copy', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { bytesPerSecond: 1_500_000 })
  const cache = temporary(t)
  const children = [1, 2].map(() => startDownload(t, hub, cache))
  for (const child of children) t.is(await child.ended, 0, child.stderr())
  t.is(hub.bytes(WEIGHTS), WEIGHTS_SIZE)
  const all = [...hub.repositories.get('o/n')!.commits.get(COMMIT)!.values()]
  const fetched = children.reduce((sum, child) => sum + Number(child.stdout()), 0)
  t.is(
    fetched,
    all.reduce((sum, { content }) => sum + content.length, 0),
  )
})

test('where no links can be made: the files themselves, one copy, by one process or two', async (t) => {
  const hub = await startHubWithModel(t)
  hub.add('o/n', model('bert-dense'), COMMIT, { 'x/a.txt': 'the same', 'x/b.txt': 'the same' })
  hub.fail(WEIGHTS, { bytesPerSecond: 2_000_000 })
  const cache = temporary(t)
  const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, HF_HUB_DISABLE_SYMLINKS: '1' }
  const children = [1, 2].map(() => startCli(t, ['models', 'download', 'o/n', '--include', 'x/*'], env))
  for (const child of children) t.is(await child.ended, 0, child.stderr())
  t.is(hub.bytes(WEIGHTS), WEIGHTS_SIZE)
  const tree = treeOf(join(cache, 'models--o--n'))
  const files = [...hub.repositories.get('o/n')!.commits.get(COMMIT)!]
  t.deepEqual(
    tree.filter((line) => line.startsWith('snapshots/')),
    files.map(([path, { content }]) => `snapshots/${COMMIT}/${path} ${content.length}`).sort(),
  )
  t.deepEqual(
    tree.filter((line) => line.startsWith('blobs/')),
    [],
  )
  const { engine } = engineOn(t, hub, { cacheDir: cache, offline: true })
  t.true((await engine.verify('o/n')).ok)
  t.is((await engine.download('o/n', { include: ['x/*'] })).downloadedBytes, 0)
})

test('one takes over where the other was killed', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { times: 1, stallAfter: 300_000 })
  const cache = temporary(t)
  const first = startDownload(t, hub, cache)
  await until(() => (unfinished(cache)?.content.length ?? 0) >= 300_000, 'the first has some')
  const { engine } = engineOn(t, hub, { cacheDir: cache })
  const loaded: number[] = []
  const second = engine.download('o/n', {
    onProgress: (event) =>
      event.status === 'progress' && event.file === 'model.safetensors' && loaded.push(event.loaded),
  })
  // The second waits, and shows how far the first is.
  await until(() => loaded.includes(300_000), 'the second sees what the first has')
  t.is(hub.count(WEIGHTS), 1)
  first.kill('SIGKILL')
  t.is((await second).downloadedBytes, WEIGHTS_SIZE - 300_000)
  t.is(hub.count(WEIGHTS), 2)
})

test('waiting for another process can be aborted', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { stallAfter: 300_000 })
  const cache = temporary(t)
  startDownload(t, hub, cache)
  await until(() => (unfinished(cache)?.content.length ?? 0) >= 300_000, 'the first has some')
  const { engine } = engineOn(t, hub, { cacheDir: cache })
  const controller = new AbortController()
  const events: EmbeddingProgress[] = []
  const waiting = engine.embed('a', {
    model: 'o/n',
    signal: controller.signal,
    onProgress: (event) => void events.push(event),
  })
  const failed = reason(waiting)
  await until(
    () => events.some((event) => event.status === 'initiate' && event.file === 'model.safetensors'),
    'it waits',
  )
  const begin = performance.now()
  controller.abort()
  t.is(await failed, controller.signal.reason)
  t.true(performance.now() - begin < SOON_MS)
  await engine.dispose()
  t.true(performance.now() - begin < 2 * SOON_MS)
})

test('on a terminal: a bar for each file and one for all', async (t) => {
  if (spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout?.includes('util-linux') !== true) {
    t.log('SKIPPED: no util-linux script here, which makes a terminal')
    t.pass()
    return
  }
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { bytesPerSecond: 800_000 })
  const command = `${process.execPath} ${ROOT}/dist/lib/cli/main.js models download o/n`
  const child = startProgram(t, 'script', ['-qec', command, '/dev/null'], {
    HF_ENDPOINT: hub.url,
    HF_HUB_CACHE: temporary(t),
  })
  t.is(await child.ended, 0, child.stdout())
  const said = child.stdout()
  t.regex(said, /[█░]{24} +\d+ %  [\d.]+ \w+ of [\d.]+ \w+  [\d.]+ \w+\/s  model\.safetensors/)
  t.regex(said, /[█░]{24} +\d+ %  [\d.]+ \w+ of [\d.]+ \w+  [\d.]+ \w+\/s  \d+ s left  o\/n/)
})

test('Ctrl-C on the command line: 130 within a second, and the rest later', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(WEIGHTS, { times: 1, stallAfter: 300_000 })
  const cache = temporary(t)
  const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache }
  const child = startCli(t, ['models', 'download', 'o/n'], env)
  await until(() => (unfinished(cache)?.content.length ?? 0) >= 300_000, 'some of the weights')
  const begin = performance.now()
  child.kill('SIGINT')
  t.is(await child.ended, 130, child.stderr())
  t.true(performance.now() - begin < SOON_MS)
  t.regex(child.stderr(), /Run the command again/)
  const again = startCli(t, ['models', 'download', 'o/n'], env)
  t.is(await again.ended, 0, again.stderr())
  t.is(again.stdout().trim(), join(cache, 'models--o--n/snapshots', COMMIT))
  t.is(hub.bytes(WEIGHTS), WEIGHTS_SIZE)
})

test('a proxy is used, and not where NO_PROXY says so', async (t) => {
  const hub = await startHubWithModel(t)
  const seen: string[] = []
  const proxy = createServer((request, response) => {
    seen.push(request.url!)
    const onward = httpRequest(request.url!, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    request.pipe(onward)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void proxy.close())
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const through = startDownload(t, hub, temporary(t), {
    HTTP_PROXY: address,
    http_proxy: address,
    NO_PROXY: 'x.invalid',
  })
  t.is(await through.ended, 0, through.stderr())
  t.is(seen.length, hub.asked.length)
  t.true(seen.every((url) => url.startsWith('http://127.0.0.1:')))
  const count = seen.length
  const past = startDownload(t, hub, temporary(t), { HTTP_PROXY: address, http_proxy: address, NO_PROXY: '127.0.0.1' })
  t.is(await past.ended, 0, past.stderr())
  t.is(seen.length, count)
})

test('certificates: NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, and none', async (t) => {
  const file = (name: string): string => new URL(`fixtures/hub/${name}`, import.meta.url).pathname
  const tls = { key: readFileSync(file('server.key'), 'utf8'), cert: readFileSync(file('server.pem'), 'utf8') }
  const hub = await startHub(t, { tls })
  hub.add('o/n', model('bert-dense'), COMMIT)
  t.true(hub.url.startsWith('https://'))
  const without = { NODE_EXTRA_CA_CERTS: '', SSL_CERT_FILE: '', SSL_CERT_DIR: '' }
  for (const name of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
    const child = startDownload(t, hub, temporary(t), { ...without, [name]: file('ca.pem') })
    t.is(await child.ended, 0, `${name}: ${child.stderr()}`)
  }
  const outcome = await runModule(
    `import { EmbeddingEngine } from 'embedding-engine'
     await new EmbeddingEngine().download('o/n').catch((error) => console.log(error.code, error.message))`,
    { env: cleanEnv({ ...without, HF_ENDPOINT: hub.url, HF_HUB_CACHE: temporary(t) }) },
  )
  t.regex(outcome.stdout, /^DOWNLOAD_FAILED .*certificate/i, outcome.stderr)
})
