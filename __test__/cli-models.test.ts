import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'

import { COMMIT, QODO_COMMIT, cleanEnv, startHub, temporary } from './helpers/hub/engine.ts'
import { startHubWithModel } from './helpers/hub/model.ts'
import { model } from './helpers/models.ts'
import { runCli } from './helpers/process.ts'
import type { Outcome } from './helpers/process.ts'

type Run = (...args: string[]) => Promise<Outcome>

/** The command line with a cache of its own, on a hub. */
function commandLine(t: Parameters<typeof temporary>[0], hub: { url: string }): { run: Run; cache: string } {
  const cache = temporary(t)
  const env = cleanEnv({ HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, EMBEDDING_ENGINE_HOME: temporary(t) })
  return { cache, run: (...args) => runCli(args, { env }) }
}

test.serial('download, list, path, verify and remove', async (t) => {
  const hub = await startHub(t)
  hub.add('Qodo/Qodo-Embed-1-1.5B', model('qodo-short'), QODO_COMMIT, { 'LICENSE.txt': 'RAIL' })
  const { run, cache } = commandLine(t, hub)
  const folder = join(cache, 'models--Qodo--Qodo-Embed-1-1.5B/snapshots', QODO_COMMIT)

  const before = await run('models', 'path', 'code')
  t.is(before.code, 1)
  t.regex(before.stderr, /models download/)

  const first = await run('models', 'download', 'code', '--include', 'LICENSE*')
  t.is(first.code, 0, first.stderr)
  t.is(first.stdout, `${folder}\n`)
  t.regex(first.stderr, /QodoAI-Open-RAIL-M \(https:/)
  t.regex(first.stderr, /^model-00001-of-00002\.safetensors$/m)
  t.is(readFileSync(join(folder, 'LICENSE.txt'), 'utf8'), 'RAIL')

  const requests = hub.asked.length
  const second = await run('models', 'download', 'code', '--json')
  const found = JSON.parse(second.stdout) as { downloadedBytes: number; path: string; files: { file: string }[] }
  t.deepEqual([found.downloadedBytes, found.path, found.files.length], [0, folder, 11])
  t.is(second.stderr.includes('RAIL'), false, 'told once')
  t.is((await run('models', 'path', 'code')).stdout, `${folder}\n`)
  const list = await run('models', 'list', '--json')
  const entries = JSON.parse(list.stdout) as { id: string; cached: { path: string; bytes: number } | null }[]
  t.is(entries.find(({ cached }) => cached !== null)!.id, 'Qodo/Qodo-Embed-1-1.5B')
  t.regex((await run('models', 'list')).stdout, /^code, qodo_embed +Qodo\/\S+ +1536 +32768 +QodoAI\S+ +[\d.]+ MB +\//m)
  t.regex((await run('models', 'list')).stdout, /^Qodo\/\S+: QodoAI-Open-RAIL-M\. .*restrictions.* https:/m)
  t.regex((await run('models', 'list')).stdout, /^jinaai\/jina-embeddings-v3: CC-BY-NC-4\.0\. .*commercial.* https:/m)

  t.is((await run('models', 'verify')).code, 0)
  const config = join(folder, 'config.json')
  writeFileSync(config, `${readFileSync(config, 'utf8')} `)
  const verified = await run('models', 'verify', 'code')
  t.is(verified.code, 1)
  t.regex(verified.stdout, /config\.json \(84bbef0\): it has the hash/)

  const removed = await run('models', 'remove', 'code')
  t.is(removed.code, 0, removed.stderr)
  t.regex(removed.stdout, /1 revision removed, [\d.]+ MB freed/)
  t.false(existsSync(join(cache, 'models--Qodo--Qodo-Embed-1-1.5B')))
  t.is((await run('models', 'remove', 'code')).code, 1)
  t.is(hub.asked.length, requests, 'all of this needs no network')
})

test.serial('a download that was broken off is not taken for a model', async (t) => {
  const hub = await startHubWithModel(t)
  hub.fail(/cdn GET .*\/model\.safetensors/, { status: 404 })
  const { run } = commandLine(t, hub)
  const named = `o/n@${COMMIT}`
  t.is((await run('models', 'download', named)).code, 1)
  const path = await run('models', 'path', named)
  t.is(path.code, 1)
  t.regex(path.stderr, new RegExp(`not whole.*models download ${named}`))
  t.regex((await run('models', 'list')).stdout, /^ *o\/n .*B, not whole +\//m)
  hub.heal()
  t.is((await run('models', 'download', named)).code, 0)
  t.is((await run('models', 'path', named)).code, 0)
  t.notRegex((await run('models', 'list')).stdout, /not whole/)
  t.is((await run('models', 'verify', 'o/n', '--revision', COMMIT)).code, 0)
  t.is((await run('models', 'verify', 'o/n', '--revision', 'v1')).code, 1)
})

test.serial('revisions, usage errors and what is not there', async (t) => {
  const hub = await startHub(t)
  hub.add('o/n', model('plain-bert'), COMMIT)
  hub.repositories.get('o/n')!.refs.set('v1', COMMIT)
  const { run, cache } = commandLine(t, hub)
  t.is(
    (await run('models', 'download', 'o/n', '--revision', 'v1')).stdout.trim(),
    join(cache, 'models--o--n/snapshots', COMMIT),
  )
  t.true(existsSync(join(cache, 'models--o--n/refs/v1')))
  t.is((await run('models', 'download', 'o/n@v1', '--revision', 'v1')).code, 2)
  t.is((await run('models', 'download')).code, 2)
  const missing = await run('models', 'download', 'o/none')
  t.is(missing.code, 1)
  t.regex(missing.stderr, /\[MODEL_NOT_FOUND\]/)
  const offline = await run('models', 'download', 'o/none', '--offline')
  t.regex(offline.stderr, /\[OFFLINE\]/)
  const elsewhere = temporary(t)
  t.is((await run('models', 'path', 'o/n@v1', '--cache-dir', elsewhere)).code, 1)
})

test.serial('doctor tells whether the hub answers', async (t) => {
  const hub = await startHub(t)
  const { run } = commandLine(t, hub)
  t.regex((await run('doctor')).stdout, new RegExp(`✓ ${hub.url}/?: answers in \\d+ ms`))
  hub.fail(/./, { hang: true })
  const begin = performance.now()
  const hung = await run('doctor', '--json')
  t.true(performance.now() - begin < 8000)
  const { hub: status, ok } = JSON.parse(hung.stdout) as { hub: Record<string, unknown>; ok: boolean }
  t.deepEqual([status.answers, status.offline, status.token, ok], [false, false, false, true])
  const offline = await runCli(['doctor'], { env: cleanEnv({ HF_HUB_OFFLINE: '1', HF_ENDPOINT: hub.url }) })
  t.regex(offline.stdout, /not asked/)
})

test.serial('embed downloads what it needs', async (t) => {
  const hub = await startHub(t)
  hub.add('o/n', model('bert-dense'), COMMIT, { 'README.md': '---\nlicense: cc-by-nc-4.0\n---\n' })
  const { run } = commandLine(t, hub)
  const outcome = await run('embed', 'hello', '--model', 'o/n', '--json')
  t.is(outcome.code, 0, outcome.stderr)
  t.true((JSON.parse(outcome.stdout) as { embedding: number[] }).embedding.length > 0)
  t.is(outcome.stderr, 'embedding-engine: The model o/n is licensed under CC-BY-NC-4.0.\n')
})
