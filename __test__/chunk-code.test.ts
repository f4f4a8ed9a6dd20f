import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import test from 'ava'
import type { ExecutionContext } from 'ava'
import { EmbeddingError, chunkCode, chunkFiles } from 'embedding-engine'
import type { CodeChunk } from 'embedding-engine'
import fc from 'fast-check'

import { rejectsWith } from './helpers/errors.ts'
import { ROOT } from './helpers/process.ts'

/** The chunks cover the text, in order, and say where they are. */
function covers(t: ExecutionContext, source: string, chunks: CodeChunk[]): void {
  let at = 0
  for (const chunk of chunks) {
    t.true(chunk.start >= at && chunk.end > chunk.start)
    t.is(source.slice(at, chunk.start).trim(), '')
    t.is(chunk.text, source.slice(chunk.start, chunk.end))
    t.true(chunk.embedText.endsWith(chunk.text))
    t.is(chunk.startLine, source.slice(0, chunk.start).split('\n').length)
    at = chunk.end
  }
  t.is(source.slice(at).trim(), '')
}

test('functions, methods and classes of a file with characters of every width', (t) => {
  const source = `import x from 'x' // é 🦀

/** Adds, naïvely 🦀. */
export function add(a: number, b: number): number {
  return a + b
}

class Queue {
  push(item: string): void {}
}
`
  const chunks = chunkCode(source, { path: 'src/queue.ts' })
  covers(t, source, chunks)
  t.deepEqual(
    chunks.map(({ kind, name, startLine, endLine, language }) => [kind, name, startLine, endLine, language]),
    [
      ['block', null, 1, 1, 'typescript'],
      ['function', 'add', 3, 6, 'typescript'],
      ['class', 'Queue', 8, 8, 'typescript'],
      ['method', 'push', 9, 10, 'typescript'],
    ],
  )
  const [, add, , push] = chunks
  t.is(add!.signature, 'export function add(a: number, b: number): number')
  t.is(add!.doc, 'Adds, naïvely 🦀.')
  t.is(push!.embedText, `Queue ${'push '.repeat(8).trim()}\npush(item: string): void\n${push!.text}`)
  t.deepEqual(chunkCode(source, { language: 'ts' }), chunks)
})

test('what is known of no language is cut at empty lines', (t) => {
  const source = `${'a line of text\n'.repeat(50)}\n${'another\n'.repeat(50)}`
  const chunks = chunkCode(source, { language: 'cobol', maxBytes: 800 })
  covers(t, source, chunks)
  t.deepEqual([chunks.length, chunks[0]!.language, chunks[1]!.startLine], [2, null, 52])
  t.deepEqual(chunkCode(''), [])
})

test('any text is covered', (t) => {
  const languages = [
    'bash',
    'c',
    'cpp',
    'csharp',
    'elixir',
    'go',
    'java',
    'js',
    'md',
    'php',
    'py',
    'rb',
    'rs',
    'tsx',
    'ts',
    'x',
  ]
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.constantFrom(...languages), (source, language) => {
      covers(t, source, chunkCode(source, { language, maxBytes: 60 }))
    }),
    { numRuns: 150 },
  )
})

test('a minified line of 200 kB', (t) => {
  const source = `!function(){${Array.from({ length: 6000 }, (_, i) => `function f${i}(a){return a+${i}};`).join('')}}()`
  const chunks = chunkCode(source, { path: 'x.js' })
  covers(t, source, chunks)
  t.true(chunks.every(({ text }) => text.length <= 2000))
})

test('bad input is refused', (t) => {
  t.throws(() => chunkCode(1 as never), { instanceOf: EmbeddingError, code: 'INVALID_INPUT' })
  t.throws(() => chunkCode('', { maxBytes: 0 }), { instanceOf: EmbeddingError, code: 'INVALID_OPTION' })
  t.throws(() => chunkCode('', { lang: 'ts' } as never), { code: 'INVALID_OPTION', message: /language/ })
})

test('the files of a folder, those that are skipped, and an abort', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'embedding-engine-chunks-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const [path, content] of Object.entries({
    'src/a.ts': 'export const a = () => 1\n',
    'src/b.py': 'def b():\n    pass\n',
    'image.png': 'PNG\0',
    'node_modules/m/i.js': 'x',
    '.gitignore': 'ignored.ts\n',
    'ignored.ts': 'x',
  })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  const skipped: string[] = []
  const found = []
  for await (const file of chunkFiles(folder, { onSkip: (path, reason) => void skipped.push(`${reason} ${path}`) })) {
    found.push([file.path, file.language, ...file.chunks.map(({ name }) => name)])
  }
  t.deepEqual(found, [
    ['src/a.ts', 'typescript', 'a'],
    ['src/b.py', 'python', 'b'],
  ])
  t.deepEqual(skipped, ['binary image.png'])
  const reason = new Error('enough')
  await t.throwsAsync(
    async () => {
      const controller = new AbortController()
      for await (const _ of chunkFiles(folder, { signal: controller.signal })) controller.abort(reason)
    },
    { is: reason },
  )
  const first = (files: AsyncIterable<unknown>): Promise<unknown> =>
    (async () => {
      for await (const file of files) return file
    })()
  await rejectsWith(t, first(chunkFiles(join(folder, 'nowhere'))), 'INVALID_INPUT', 'nowhere')
  await rejectsWith(t, first(chunkFiles(folder, { include: ['['] })), 'INVALID_OPTION', 'include')
})

test('this repository', async (t) => {
  let [files, chunks] = [0, 0]
  for await (const file of chunkFiles(ROOT, { include: ['lib/**', 'crates/*/src/**'] })) {
    covers(t, readFileSync(join(ROOT, file.path), 'utf8'), file.chunks)
    files += 1
    chunks += file.chunks.length
  }
  t.true(files > 100 && chunks > 1000, `${files} files, ${chunks} chunks`)
})
