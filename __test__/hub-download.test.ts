// What a first, a second and a later call ask of the hub, and what they leave in the cache.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'
import { EmbeddingEngine, listModels } from 'embedding-engine'
import type { EmbeddingProgress } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { COMMIT, QODO_COMMIT, cleanEnv, engineOn, startHub, temporary, treeOf } from './helpers/hub/engine.ts'
import { startHubWithModel } from './helpers/hub/model.ts'
import { model } from './helpers/models.ts'
import { runModule } from './helpers/process.ts'

// Time enough for a branch to be asked for on a busy machine.
process.env.HF_HUB_ETAG_TIMEOUT = '60'

const OTHER = 'fedcba9876543210fedcba9876543210fedcba98'

/** The vector that the model's own folder gives. */
async function local(name: string, text: string): Promise<Float32Array> {
  await using engine = new EmbeddingEngine({ threads: 1 })
  return (await engine.embed(text, { model: model(name) })).embedding
}

test('code: both shards by the index, nothing else, and the vectors of the same folder', async (t) => {
  const hub = await startHub(t)
  const junk = {
    'pytorch_model.bin': 'x',
    'onnx/model.onnx': 'x',
    'merges.txt': 'x',
    'vocab.json': '{}',
    'a/b.py': 'x',
  }
  hub.add('Qodo/Qodo-Embed-1-1.5B', model('qodo-short'), QODO_COMMIT, { ...junk, 'README.md': '# Qodo' })
  const { engine, cache, log } = engineOn(t, hub)
  const result = await engine.embed('fn main() {}', { model: 'code' })
  t.is(result.model.revision, QODO_COMMIT)
  const resolved = hub.asked.filter(({ server, path }) => server === 'hub' && path.startsWith('/Qodo/'))
  t.deepEqual(resolved.map(({ path }) => path.split(`${QODO_COMMIT}/`)[1]).sort(), [
    '1_Pooling/config.json',
    'README.md',
    'config.json',
    'config_sentence_transformers.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
    'model.safetensors.index.json',
    'modules.json',
    'sentence_bert_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
  t.is(hub.count(/revision/), 0, 'a pinned commit need not be asked for')
  t.is(hub.count(/HEAD/), 0)
  const vector = await local('qodo-short', 'fn main() {}')
  t.deepEqual(Array.from(result.embedding), Array.from(vector))
  t.is(log.warn.length, 1)
  t.regex(log.warn[0]!, /QodoAI-Open-RAIL-M \(https:\S+\).*restrictions/)

  // A second start: nothing is asked.
  const before = hub.asked.length
  const second = engineOn(t, hub, { cacheDir: cache })
  t.deepEqual((await second.engine.embed('fn main() {}', { model: 'code' })).embedding, vector)
  t.is(hub.asked.length, before)
  t.deepEqual(second.log.warn, [])
})

test('text: the graph and its data under their names, and the licence', async (t) => {
  const hub = await startHub(t)
  const files = { 'onnx/model_fp16.onnx': 'x', 'model.safetensors': 'x', 'README.md': '# Jina' }
  const { engine, log } = engineOn(t, hub)
  const pinned = listModels().find(({ aliases }) => aliases.includes('text'))!.revision!
  hub.add('jinaai/jina-embeddings-v3', model('onnx-jina'), pinned, files)
  const { embedding, model: info } = await engine.embed('Hello', { model: 'text' })
  t.is(info.backend, 'onnx')
  const large = hub.asked
    .filter(({ server }) => server === 'cdn')
    .map(({ path }) => /resolve\/\w+\/([^?]+)/.exec(path)![1])
  t.deepEqual(large.sort(), ['onnx/model.onnx', 'onnx/model.onnx_data', 'tokenizer.json'])
  t.deepEqual(embedding, await local('onnx-jina', 'Hello'))
  t.is(log.warn.filter((text) => /CC-BY-NC-4\.0.*commercial/.test(text)).length, 1)
})

test('the cache is that of huggingface_hub, byte for byte', async (t) => {
  const hub = await startHub(t)
  hub.add('o/n', model('bert-dense'), COMMIT, { 'README.md': '---\nlicense: mit\n---\n' })
  const { engine, cache } = engineOn(t, hub)
  await engine.embed('a', { model: 'o/n' })
  const layout = treeOf(cache).filter((line) => !line.startsWith('.locks'))
  const recorded = readFileSync(new URL('fixtures/hub/tree.txt', import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
  t.deepEqual(layout, recorded)
})

test('what Python fetched is found here, and the other way round', async (t) => {
  const python = findPython()
  if (python === undefined) {
    t.log('SKIPPED: no Python with huggingface_hub here (set EMBEDDING_ENGINE_PYTHON)')
    t.pass()
    return
  }
  const hub = await startHubWithModel(t)
  const snapshot = async (cache: string, offline: boolean): Promise<string> => {
    const source = `import huggingface_hub as h; print(h.snapshot_download('o/n', cache_dir=${JSON.stringify(cache)}, local_files_only=${offline ? 'True' : 'False'}))`
    const { spawn } = await import('node:child_process')
    const child = spawn(python, ['-c', source], {
      env: { PATH: process.env.PATH, HF_ENDPOINT: hub.url, HF_HUB_DISABLE_XET: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1' },
    })
    let text = ''
    child.stdout.on('data', (part: Buffer) => (text += part.toString()))
    child.stderr.on('data', (part: Buffer) => (text += part.toString()))
    return new Promise((resolve) => child.on('close', () => resolve(text.trim().split('\n').at(-1)!)))
  }
  const theirs = temporary(t)
  t.is(await snapshot(theirs, false), join(theirs, 'models--o--n/snapshots', COMMIT))
  const before = hub.asked.length
  const { engine } = engineOn(t, hub, { cacheDir: theirs, offline: true })
  const { embedding } = await engine.embed('a', { model: 'o/n' })
  t.is(hub.asked.length, before)

  const { engine: own, cache } = engineOn(t, hub)
  t.deepEqual((await own.embed('a', { model: 'o/n' })).embedding, embedding)
  t.is(await snapshot(cache, true), join(cache, 'models--o--n/snapshots', COMMIT))
  // And Python has nothing to fetch.
  const bytes = hub.bytes(/cdn/)
  await snapshot(cache, false)
  t.is(hub.bytes(/cdn/), bytes)
})

function findPython(): string | undefined {
  const candidates = [process.env.EMBEDDING_ENGINE_PYTHON, '/tmp/venv/bin/python', 'python3']
  return candidates.find(
    (name) => name !== undefined && spawnSync(name, ['-c', 'import huggingface_hub'], { stdio: 'ignore' }).status === 0,
  )
}

test('a branch: resolved once, asked for once a start, followed when it moves', async (t) => {
  const hub = await startHubWithModel(t)
  const { engine, cache } = engineOn(t, hub)
  t.is((await engine.embed('a', { model: 'o/n' })).model.revision, COMMIT)
  t.is(readFileSync(join(cache, 'models--o--n/refs/main'), 'utf8'), COMMIT)
  const first = hub.asked.length
  await engine.embed('b', { model: 'o/n' })
  await engine.countTokens('b', { model: 'o/n' })
  t.is(hub.asked.length, first, 'an engine asks once')

  const second = engineOn(t, hub, { cacheDir: cache })
  await second.engine.embed('a', { model: 'o/n' })
  t.is(hub.asked.length, first + 1)

  // main moves on: only what changed is fetched.
  hub.add('o/n', model('bert-dense'), OTHER, { 'config_sentence_transformers.json': '{"prompts":{}}' })
  const sent = hub.bytes(/resolve/)
  const third = engineOn(t, hub, { cacheDir: cache })
  t.is((await third.engine.embed('a', { model: 'o/n' })).model.revision, OTHER)
  t.is(hub.bytes(/resolve/) - sent, '{"prompts":{}}'.length)
  // And the old one is still there for those who name it.
  const requests = hub.asked.length
  t.is((await third.engine.embed('a', { model: `o/n@${COMMIT}` })).model.revision, COMMIT)
  t.is(hub.asked.length, requests)
})

test('tags and branches have refs of their own', async (t) => {
  const hub = await startHubWithModel(t)
  hub.repositories.get('o/n')!.refs.set('refs/pr/1', COMMIT)
  const { engine, cache } = engineOn(t, hub)
  t.is((await engine.embed('a', { model: 'o/n@refs/pr/1' })).model.revision, COMMIT)
  t.is(readFileSync(join(cache, 'models--o--n/refs/refs/pr/1'), 'utf8'), COMMIT)
  t.false(existsSync(join(cache, 'models--o--n/refs/main')))
  await rejectsWith(t, engine.embed('a', { model: 'o/n@v9' }), 'MODEL_NOT_FOUND', 'v9', 'o/n')
})

test('a snapshot that another tool left half-fetched is completed', async (t) => {
  const hub = await startHubWithModel(t)
  const { engine, cache } = engineOn(t, hub)
  const { embedding } = await engine.embed('a', { model: 'o/n' })
  for (const file of ['modules.json', 'tokenizer.json', '2_Dense/model.safetensors', 'config.json']) {
    const copy = temporary(t)
    cpSync(cache, copy, { recursive: true, verbatimSymlinks: true })
    rmSync(join(copy, 'models--o--n/snapshots', COMMIT, file))
    const sent = hub.bytes(/resolve/)
    const again = engineOn(t, hub, { cacheDir: copy })
    t.deepEqual((await again.engine.embed('a', { model: `o/n@${COMMIT}` })).embedding, embedding, file)
    t.is(hub.bytes(/resolve/), sent, `${file}: its content was there`)
  }
})

test('a file that was spoilt since is fetched again', async (t) => {
  const hub = await startHub(t)
  const files = hub.add('o/n', model('bert-dense'), COMMIT)
  const { engine, cache } = engineOn(t, hub)
  const { embedding } = await engine.embed('a', { model: 'o/n' })
  for (const file of ['modules.json', 'model.safetensors']) {
    const place = join(cache, 'models--o--n/snapshots', COMMIT, file)
    writeFileSync(place, '{')
    const sent = hub.bytes(/\/resolve/)
    const again = engineOn(t, hub, { cacheDir: cache })
    t.deepEqual((await again.engine.embed('a', { model: 'o/n' })).embedding, embedding, file)
    t.is(hub.bytes(/\/resolve/) - sent, files.get(file)!.content.length)
    t.true(readFileSync(place).equals(files.get(file)!.content))
  }
})

test('a model that we cannot run is refused before its weights come', async (t) => {
  const hub = await startHub(t)
  const files = hub.add('o/n', model('bert-dense'), COMMIT, { 'config.json': '{"model_type":"mamba"}' })
  const { engine } = engineOn(t, hub)
  await rejectsWith(t, engine.embed('a', { model: 'o/n' }), 'MODEL_UNSUPPORTED', 'mamba')
  t.true(files.has('model.safetensors'))
  t.is(hub.count(/resolve\/\w+\/model\.safetensors/), 0)
})

test('progress: each file from initiate to done, totals that reach their end, ten a second', async (t) => {
  const hub = await startHub(t)
  const files = hub.add('o/n', model('bert-dense'), COMMIT)
  hub.fail(/cdn GET .*\/model\.safetensors/, { bytesPerSecond: 300_000 })
  const { engine } = engineOn(t, hub)
  const events: { at: number; event: EmbeddingProgress }[] = []
  await engine.embed('a', {
    model: 'o/n',
    onProgress: (event) => {
      events.push({ at: performance.now(), event })
      throw new Error('the listener’s own')
    },
  })
  const of = (status: string): EmbeddingProgress[] =>
    events.map(({ event }) => event).filter((e) => e.status === status)
  for (const file of files.keys()) {
    const told = events.map(({ event }) => event).filter((event) => 'file' in event && event.file === file)
    const steps = told.map(({ status }) => status).filter((status) => status !== 'progress')
    t.deepEqual(steps, ['initiate', 'download', 'done'], file)
    t.true(told.every((event) => 'name' in event && event.name === 'o/n'))
  }
  const slow = events.map(({ event }) => event).filter((e) => e.status === 'progress' && e.file === 'model.safetensors')
  t.true(slow.length >= 4, String(slow.length))
  const speeds = slow.flatMap((e) => (e.status === 'progress' && e.progress > 40 && e.progress < 100 ? [e] : []))
  t.true(
    speeds.length > 0 && speeds.every(({ bytesPerSecond }) => bytesPerSecond > 10_000 && bytesPerSecond < 5_000_000),
  )
  t.true(speeds.every(({ etaSeconds }) => etaSeconds !== undefined && etaSeconds >= 0 && etaSeconds < 100))
  const totals = of('progress_total').flatMap((e) => (e.status === 'progress_total' ? [e] : []))
  const last = totals.at(-1)!
  const size = [...files.values()].reduce((sum, { content }) => sum + content.length, 0)
  t.deepEqual([last.progress, last.loaded, last.total, Object.keys(last.files).length], [100, size, size, files.size])
  for (const status of ['progress', 'progress_total']) {
    const times = events.filter(({ event }) => event.status === status).map(({ at }) => at)
    const busiest = Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 1000).length))
    // What was held back is told at the end.
    t.true(busiest <= 12, `${status}: ${busiest} in a second`)
  }
  const order = events.map(({ event }) => event.status)
  t.true(order.lastIndexOf('done') < order.indexOf('loading') && order.indexOf('loading') < order.indexOf('ready'))
})

test('the token goes to the hub alone, and into no message', async (t) => {
  const hub = await startHubWithModel(t)
  hub.repositories.get('o/n')!.gate = { token: 'hf_very_secret' }
  const { engine, log } = engineOn(t, hub, { token: 'hf_very_secret' })
  const events: string[] = []
  await engine.embed('a', { model: 'o/n', onProgress: (event) => void events.push(JSON.stringify(event)) })
  for (const { server, headers, path } of hub.asked) {
    t.is(headers.authorization, server === 'hub' ? 'Bearer hf_very_secret' : undefined, path)
  }
  hub.add('o/gated', model('bert-dense'), COMMIT)
  hub.repositories.get('o/gated')!.gate = { token: 'another' }
  const error = await rejectsWith(t, engine.embed('a', { model: 'o/gated' }), 'ACCESS_DENIED', 'gated', '/o/gated')
  hub.fail(/cdn/, { status: 403 })
  hub.add('o/third', model('plain-bert'), COMMIT)
  const signed = await t.throwsAsync(engine.embed('a', { model: 'o/third' }))
  const said = [
    JSON.stringify(error),
    error.message,
    String(error.stack),
    signed.message,
    ...events,
    ...log.info,
    ...log.warn,
  ]
  t.notRegex(said.join('\n'), /very_secret|signed-secret/)
})

test('tokens from the environment and from the token file', async (t) => {
  const hub = await startHub(t)
  hub.add('o/n', model('plain-bert'), COMMIT)
  const home = temporary(t)
  writeFileSync(join(home, 'token'), 'hf_from_file\n')
  for (const [env, expected] of [
    [{ HF_TOKEN: 'hf_from_env' }, 'Bearer hf_from_env'],
    [{ HF_HOME: home }, 'Bearer hf_from_file'],
    [{ HF_TOKEN_PATH: join(home, 'token') }, 'Bearer hf_from_file'],
    [{}, undefined],
  ] as const) {
    const from = hub.asked.length
    const own = temporary(t)
    const where = { HOME: own, HF_ENDPOINT: hub.url, ...env }
    const outcome = await runModule(
      `import { EmbeddingEngine, listModels } from 'embedding-engine'
       const { path } = await new EmbeddingEngine().download('o/n')
       console.log(path)`,
      { env: cleanEnv(where) },
    )
    t.is(outcome.code, 0, outcome.stderr)
    t.is(hub.asked[from]!.headers.authorization, expected)
    const hubHome = 'HF_HOME' in env ? home : join(own, '.cache/huggingface')
    t.is(outcome.stdout.trim(), join(hubHome, 'hub/models--o--n/snapshots', COMMIT))
  }
})

test('offline: what is cached is used without a request, what is not is OFFLINE', async (t) => {
  const hub = await startHubWithModel(t)
  const { engine, cache } = engineOn(t, hub)
  const { embedding } = await engine.embed('a', { model: 'o/n' })
  const before = hub.asked.length
  const { engine: offline } = engineOn(t, hub, { cacheDir: cache, offline: true })
  t.deepEqual((await offline.embed('a', { model: 'o/n' })).embedding, embedding)
  await rejectsWith(t, offline.embed('a', { model: 'o/other' }), 'OFFLINE', 'o/other', cache, 'models download o/other')
  const outcome = await runModule(
    `import { EmbeddingEngine, listModels } from 'embedding-engine'
     const engine = new EmbeddingEngine()
     console.log((await engine.embed('a', { model: 'o/n' })).dimensions)
     await engine.embed('a', { model: 'x/y' }).catch((error) => console.log(error.code))`,
    { env: cleanEnv({ HF_HUB_OFFLINE: '1', HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache }) },
  )
  t.deepEqual(outcome.stdout.trim().split('\n'), [String(embedding.length), 'OFFLINE'], outcome.stderr)
  t.is(hub.asked.length, before)
})

test('preload fetches and loads several at once; each that fails is named', async (t) => {
  const hub = await startHub(t)
  hub.add('o/a', model('bert-dense'), COMMIT)
  hub.add('o/b', model('plain-bert'), COMMIT)
  const { engine } = engineOn(t, hub)
  const error = await rejectsWith(
    t,
    engine.preload(['o/a', 'o/missing', 'o/b', 'o/gone']),
    'MODEL_NOT_FOUND',
    '2 of 4',
    'o/missing',
    'o/gone',
  )
  const failures = error.details.failures as { model: string; code: string }[]
  t.deepEqual(
    failures.map((failure) => [failure.model, failure.code]),
    [
      ['o/missing', 'MODEL_NOT_FOUND'],
      ['o/gone', 'MODEL_NOT_FOUND'],
    ],
  )
  const before = hub.asked.length
  const [a, b] = await engine.preload(['o/a', 'o/b'])
  t.deepEqual([a!.id, b!.id], ['o/a', 'o/b'])
  t.is(hub.asked.length, before, 'the others were fetched all the same')
})

test('a name that is nearly right is answered with the right one', async (t) => {
  const hub = await startHub(t)
  const { engine } = engineOn(t, hub)
  const asked = engine.embed('a', { model: 'sentence-transformers/all-MiniLM-L6-v3' })
  const error = await rejectsWith(t, asked, 'MODEL_NOT_FOUND', 'all-MiniLM-L6-v2', 'token')
  t.deepEqual(error.details.suggestions, ['sentence-transformers/all-MiniLM-L6-v2'])
  t.is(hub.asked.length, 1, 'a 401 is not tried again')
})

test('further files by glob, and only those', async (t) => {
  const hub = await startHub(t)
  hub.add('o/n', model('bert-dense'), COMMIT, { 'LICENSE.txt': 'MIT', 'docs/a/b.md': '#', 'x.bin': 'x' })
  const { engine, cache } = engineOn(t, hub)
  const { files, path, bytes } = await engine.download('o/n', { include: ['LICENSE*', 'docs/*'] })
  const names = new Set(files.map(({ file }) => file))
  t.true(names.has('LICENSE.txt') && names.has('docs/a/b.md') && !names.has('x.bin'))
  t.is(
    bytes,
    files.reduce((sum, file) => sum + file.bytes, 0),
  )
  t.is(readFileSync(join(path, 'LICENSE.txt'), 'utf8'), 'MIT')
  t.is((await engine.download('o/n')).downloadedBytes, 0)
  await rejectsWith(t, engine.download('o/n', { include: ['['] }), 'INVALID_OPTION', 'include')
  // Without a network: those that are there, and not those that are not.
  const { engine: offline } = engineOn(t, hub, { cacheDir: cache, offline: true })
  t.is((await offline.download('o/n', { include: ['LICENSE*'] })).path, path)
  await rejectsWith(t, offline.download('o/n', { include: ['*.bin'] }), 'OFFLINE', 'o/n')
})

test('verify hashes all files again and names the one that is wrong', async (t) => {
  const hub = await startHubWithModel(t)
  const { engine, cache } = engineOn(t, hub)
  const { path, files } = await engine.download('o/n')
  const good = await engine.verify('o/n')
  t.true(good.ok)
  t.is(good.models[0]!.files.length, files.length)
  const weights = readFileSync(join(path, 'model.safetensors'))
  weights[500_000]! ^= 1
  writeFileSync(join(path, 'model.safetensors'), weights)
  writeFileSync(join(path, 'config.json'), '{}')
  const bad = await engine.verify()
  t.false(bad.ok)
  const wrong = bad.models[0]!.files.filter(({ ok }) => !ok)
  t.deepEqual(
    wrong.map(({ file }) => file),
    ['config.json', 'model.safetensors'],
  )
  t.true(wrong.every(({ reason }) => reason!.includes('hash')))
  mkdirSync(join(cache, 'datasets--a--b'))
  await rejectsWith(t, engine.verify('o/none'), 'MODEL_NOT_FOUND', 'o/none')
})
