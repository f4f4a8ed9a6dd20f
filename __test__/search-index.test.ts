import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'
import type { ExecutionContext } from 'ava'
import { chunkCode, embed, embedBatch, openIndex, similarity } from 'embedding-engine'
import type { EmbeddingProgress, OpenIndexOptions, SearchIndex } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { mounted } from './helpers/hub/engine.ts'
import { model } from './helpers/models.ts'
import { ROOT } from './helpers/process.ts'

const MODEL = model('bert-mean')
const OTHER = model('qodo-tiny')

const QUEUE = `/** A queue of jobs. */
export class Queue {
  /** Adds a job at the end. */
  push(job: Job): void {
    this.jobs.push(job)
  }
}
`
const RETRY = `def retry_with_backoff(call, attempts):
    """Calls again after a failure."""
    for attempt in range(attempts):
        yield call(attempt)
`

interface Place {
  folder: string
  store: string
  write(path: string, text: string): void
  open(options?: OpenIndexOptions): Promise<SearchIndex>
}

let turn = 0

/** A folder with a few files, and a place for its index. */
function place(
  t: ExecutionContext,
  files: Record<string, string> = { 'src/queue.ts': QUEUE, 'retry.py': RETRY },
): Place {
  const root = mkdtempSync(join(tmpdir(), 'embedding-engine-index-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  const folder = join(root, 'repo')
  mkdirSync(folder)
  const store = join(root, 'state', 'index.db')
  const write = (path: string, text: string): void => {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
    // Old enough to be trusted, and another time at each change.
    const time = Date.now() / 1000 - 100_000 + turn++
    utimesSync(file, time, time)
  }
  for (const [path, text] of Object.entries(files)) write(path, text)
  const open = async (options: OpenIndexOptions = {}): Promise<SearchIndex> => {
    const index = await openIndex(folder, { model: MODEL, store, ...options })
    t.teardown(() => index.close())
    return index
  }
  return { folder, store, write, open }
}

/** Many functions, no two alike. */
function functions(count: number, seed = 0): string {
  return Array.from({ length: count }, (_, i) => `def work_${seed}_${i}(x):\n    return x * ${seed} + ${i}\n\n`).join(
    '\n',
  )
}

test.serial('a folder is indexed, searched, and brought up to date', async (t) => {
  const { folder, write, open } = place(t)
  const index = await open()
  t.is(index.space, null)
  t.deepEqual(await index.query('anything'), [])
  const first = await index.update()
  t.deepEqual([first.files, first.added, first.chunks, first.embedded, first.unchanged], [2, 2, 3, 3, 0])
  t.true(first.tokens > 10)
  t.deepEqual(first.skipped, {})
  t.is(index.space, first.space)

  t.is((await index.query('retry with backoff')).length, 3)
  // What the model of the tests finds means nothing.
  const python = { filter: { language: 'python' } }
  const [hit] = await index.query('retry with backoff', python)
  t.like(hit, {
    path: 'retry.py',
    startLine: 1,
    endLine: 4,
    name: 'retry_with_backoff',
    kind: 'function',
    language: 'python',
  })
  t.is(hit!.text, RETRY.trim())

  const again = await index.update()
  t.deepEqual([again.unchanged, again.embedded, again.tokens], [2, 0, 0])

  write('src/queue.ts', QUEUE.replace('push(job)', 'unshift(job)'))
  write('logo.png', '\0')
  const changed = await index.update()
  t.deepEqual([changed.changed, changed.unchanged, changed.embedded, changed.skipped], [1, 1, 1, { binary: 1 }])

  renameSync(join(folder, 'retry.py'), join(folder, 'again.py'))
  const moved = await index.update()
  t.deepEqual([moved.added, moved.removed, moved.embedded], [1, 1, 0])
  t.is((await index.query('retry with backoff', python))[0]!.path, 'again.py')

  const { files, chunks, bytes, store, space } = await index.stats()
  t.deepEqual([files, chunks, space], [2, 3, index.space])
  t.true(bytes > 1000 && existsSync(store))
})

test.serial(
  'the vectors are those of embedBatch over embedText, and the score of a dense hit is the cosine',
  async (t) => {
    const { open } = place(t)
    const index = await open()
    await index.update()
    const texts = [...chunkCode(QUEUE, { path: 'src/queue.ts' }), ...chunkCode(RETRY, { path: 'retry.py' })].map(
      ({ text, embedText }) => ({ text, embedText }),
    )
    const { embeddings, space } = await embedBatch(
      texts.map(({ embedText }) => embedText),
      { model: MODEL },
    )
    t.is(index.space, space as string | null)
    const { embedding } = await embed('add a job', { model: MODEL, task: 'query' })
    const hits = await index.query('add a job', { hybrid: false })
    t.is(hits.length, texts.length)
    for (const { text, score } of hits) {
      const at = texts.findIndex((chunk) => chunk.text === text)
      t.true(Math.abs(similarity(embedding, embeddings[at]!) - score) < 1e-6)
    }
    t.deepEqual(
      hits.map(({ score }) => score),
      hits.map(({ score }) => score).toSorted((a, b) => b - a),
    )
  },
)

test.serial('filters by language and path', async (t) => {
  const { open } = place(t, { 'a/x.py': RETRY, 'b/y.py': RETRY, 'b/z.ts': QUEUE, 'c.md': '# Retry\n\nNever.\n' })
  const index = await open()
  await index.update()
  const paths = async (filter: { language?: string | string[]; path?: string | string[] }): Promise<string[]> => {
    const hits = await index.query('retry', { filter })
    return [...new Set(hits.map(({ path }) => path))].toSorted()
  }
  t.deepEqual(await paths({ language: 'py' }), ['a/x.py', 'b/y.py'])
  t.deepEqual(await paths({ language: ['TypeScript', 'md'] }), ['b/z.ts', 'c.md'])
  t.deepEqual(await paths({ path: 'b/**' }), ['b/y.py', 'b/z.ts'])
  t.deepEqual(await paths({ path: ['a/*', '*.md'], language: 'markdown' }), ['c.md'])
  // Equal chunks are in the order of their paths.
  const [one, two] = await index.query('retry with backoff', { top: 2, hybrid: false, filter: { language: 'python' } })
  t.deepEqual([one!.path, two!.path, one!.score], ['a/x.py', 'b/y.py', two!.score])
})

test.serial('another model has vectors of its own', async (t) => {
  const { open } = place(t)
  const index = await open()
  await index.update()
  const other = await open({ model: OTHER })
  t.is(other.space, index.space)
  await rejectsWith(t, other.query('retry'), 'SPACE_MISMATCH', 'update()', index.space!)
  const report = await other.update()
  t.deepEqual([report.unchanged, report.embedded], [2, 3])
  t.not(other.space, index.space)
  t.is((await other.query('retry')).length, 3)
  t.is((await index.query('retry')).length, 3)
  t.is((await index.update()).embedded, 0)
  await rejectsWith(t, (await open({ space: 'ee1-other' })).update(), 'SPACE_MISMATCH', 'ee1-other')
  const cut = await open({ model: model('matryoshka'), dimensions: 32 })
  t.is((await cut.update()).embedded, 3)
  t.is((await cut.query('retry')).length, 3)
})

test.serial('progress tells files, chunks and the model, and an error of the callback is ignored', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f${i}.py`, functions(60, i)]))
  const { open } = place(t, files)
  const events: EmbeddingProgress[] = []
  const engine = { threads: 2 }
  const index = await open(engine)
  const report = await index.update({
    onProgress: (event) => {
      events.push(event)
      throw new Error('not the call’s failure')
    },
  })
  t.is(report.files, 12)
  const statuses = new Set(events.map(({ status }) => status))
  for (const status of ['loading', 'ready', 'indexing'] as const) t.true(statuses.has(status), status)
  const indexing = events.filter((event) => event.status === 'indexing')
  t.like(indexing.at(-1), { done: 12, total: 12, chunks: report.chunks, tokens: report.tokens })
})

test.serial('an aborted update rejects with the reason, keeps what was stored, and goes on', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}.py`, functions(100, i)]))
  const { open } = place(t, files)
  const index = await open()
  const controller = new AbortController()
  const reason = new Error('enough')
  const update = index.update({
    signal: controller.signal,
    onProgress: ({ status }) => status === 'indexing' && controller.abort(reason),
  })
  await t.throwsAsync(update, { is: reason })
  await t.throwsAsync(index.query('x', { signal: controller.signal }), { is: reason })
  const report = await index.update()
  t.true(report.embedded > 0 && report.embedded < 3000, String(report.embedded))
  t.deepEqual([report.files, report.chunks], [30, 3000])
  t.is((await index.update()).embedded, 0)
})

test.serial('a process that is killed loses what was in flight, and nothing else', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}.py`, functions(100, i)]))
  const { folder, store, open } = place(t, files)
  const source = `
    import { openIndex } from 'embedding-engine'
    const index = await openIndex(${JSON.stringify(folder)}, ${JSON.stringify({ model: MODEL, store })})
    await index.update({ onProgress: ({ status }) => status === 'indexing' && console.log('stored') })`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: ROOT,
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  const gone = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGKILL')
  await gone
  const index = await open()
  const { chunks } = await index.stats()
  t.true(chunks > 0, 'something was stored')
  const hits = await index.query('work', { hybrid: true })
  t.is(hits.length, 10)
  const report = await index.update()
  t.deepEqual([report.files, report.chunks, report.embedded + chunks], [40, 4000, 4000])
})

test.serial('two processes at once share the work', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}.py`, functions(40, i)]))
  const { folder, store } = place(t, files)
  const source = `
    import { openIndex } from 'embedding-engine'
    const index = await openIndex(${JSON.stringify(folder)}, ${JSON.stringify({ model: MODEL, store })})
    const [report] = await Promise.all([index.update(), index.query('work').catch(({ code }) => code)])
    console.log(JSON.stringify([report.embedded, report.files, await index.query('work 3 7')]))
    await index.close()`
  const run = async (): Promise<[number, number, unknown[]]> => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
      cwd: ROOT,
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    let [output, errors] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    await new Promise((resolve) => child.once('close', resolve))
    t.is(errors, '')
    return JSON.parse(output) as [number, number, unknown[]]
  }
  const outcomes = await Promise.all([run(), run()])
  t.deepEqual(
    outcomes.map(([embedded]) => embedded).toSorted((a, b) => a - b),
    [0, 800],
  )
  for (const [, count] of outcomes) t.is(count, 20)
  t.deepEqual(outcomes[0]![2], outcomes[1]![2])
})

test.serial('a closed index is DISPOSED; closing ends what runs, and may be repeated', async (t) => {
  const { open } = place(t, Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}.py`, functions(100, i)])))
  const index = await open({ threads: 1 })
  let stored: (() => void) | undefined
  const begun = new Promise<void>((resolve) => (stored = resolve))
  const update = index.update({ onProgress: ({ status }) => status === 'indexing' && stored!() })
  const failed = rejectsWith(t, update, 'DISPOSED')
  await begun
  await index.close()
  await failed
  await rejectsWith(t, index.query('x'), 'DISPOSED', 'openIndex')
  await rejectsWith(t, index.update(), 'DISPOSED')
  await rejectsWith(t, index.stats(), 'DISPOSED')
  await index.close()
  await index[Symbol.asyncDispose]()
})

test.serial('without a store the index lies in the home, by the name of the folder', async (t) => {
  const { folder } = place(t)
  const home = mkdtempSync(join(tmpdir(), 'embedding-engine-home-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const index = await openIndex(folder, { model: MODEL, home })
  t.teardown(() => index.close())
  const { store } = await index.stats()
  t.is(dirname(store), join(home, 'indexes'))
  t.regex(basename(store), /^repo-[\da-f]{16}\.db$/)
})

test.serial('the event loop goes on', async (t) => {
  const { open } = place(t, Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}.py`, functions(60, i)])))
  const index = await open()
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  await index.update()
  await Promise.all(Array.from({ length: 20 }, () => index.query('work')))
  clearInterval(timer)
  await sleep(1)
  t.true(ticks > 5, String(ticks))
})

test.serial('what cannot be opened is told', async (t) => {
  const { folder, store, open } = place(t)
  await rejectsWith(t, openIndex(join(folder, 'nowhere'), { model: MODEL, store }), 'INVALID_INPUT', 'nowhere')
  await rejectsWith(t, openIndex(join(folder, 'retry.py'), { model: MODEL, store }), 'INVALID_INPUT', 'no folder')
  const text = join(folder, 'retry.py')
  await rejectsWith(t, openIndex(folder, { model: MODEL, store: text }), 'INVALID_INPUT', 'retry.py', 'store')
  t.is(readFileSync(text, 'utf8'), RETRY, 'a file of others is left as it was')

  const index = await open()
  await index.update()
  await index.close()
  const bytes = readFileSync(store)
  writeFileSync(store, bytes.fill(0x55, 8192))
  const use = open().then((damaged) => damaged.update())
  await rejectsWith(t, use, 'INTEGRITY_FAILED', store, 'Remove it')
})

test.serial('bad options are refused before anything is done', async (t) => {
  const { folder, open } = place(t)
  const bad = (options: object): Promise<unknown> => openIndex(folder, options as OpenIndexOptions)
  await rejectsWith(t, bad({ model: 'auto' }), 'INVALID_OPTION', 'auto', 'code')
  await rejectsWith(t, bad({ stor: 'x' }), 'INVALID_OPTION', "'store'")
  await rejectsWith(t, bad({ threads: 0 }), 'INVALID_OPTION', 'threads')
  await rejectsWith(t, bad({ include: 'src' }), 'INVALID_OPTION', 'include')
  await rejectsWith(t, bad({ task: 'query' }), 'INVALID_OPTION', 'task')
  await rejectsWith(t, openIndex(7 as unknown as string), 'INVALID_INPUT', '7')
  const index = await open({ include: ['['] })
  await rejectsWith(t, index.update(), 'INVALID_OPTION', 'include')
  const query = (options: object): Promise<unknown> => index.query('x', options)
  await rejectsWith(t, query({ top: 0 }), 'INVALID_OPTION', 'top')
  await rejectsWith(t, query({ filter: { lang: 'ts' } }), 'INVALID_OPTION', 'language')
  await rejectsWith(t, query({ filter: { path: [1] } }), 'INVALID_OPTION', 'path')
  await rejectsWith(t, index.query(7 as unknown as string), 'INVALID_INPUT', '7')
  await (await open()).update()
  await rejectsWith(t, query({ filter: { language: 'cobol' } }), 'INVALID_OPTION', 'cobol', 'typescript')
  await rejectsWith(t, query({ filter: { path: '[' } }), 'INVALID_OPTION', 'filter.path')
  await rejectsWith(t, index.query(''), 'EMPTY_TEXT')
})

test.serial('the default engine outlives an index that shares it', async (t) => {
  const { open } = place(t)
  const index = await open()
  await index.update()
  await index.close()
  t.is((await embed('x', { model: MODEL })).truncated, false)
})

test('a full disk is told, what was stored stays, and with room again the update goes on', async (t) => {
  const disk = mounted(t, '1500k')
  if (!disk) return
  const files = Object.fromEntries(
    Array.from({ length: 400 }, (_, i) => [
      `f${i}.py`,
      `def function_${i}(argument):\n    """Does ${i}."""\n    return ${'argument + '.repeat(40)}${i}\n`,
    ]),
  )
  const repo = place(t, files)
  const filler = join(disk, 'filler')
  writeFileSync(filler, Buffer.alloc(700_000))
  await using index = await openIndex(repo.folder, { store: join(disk, 'index.db') })
  await rejectsWith(t, index.update(), 'DISK_FULL')
  rmSync(filler)
  for (let i = 100; i < 400; i++) rmSync(join(repo.folder, `f${i}.py`))
  const { files: stored } = await index.update()
  t.is(stored, 100)
  const [hit] = await index.query('function 42')
  t.is(hit?.name, 'function_42')
})
