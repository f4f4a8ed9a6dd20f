import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { tableFromIPC } from 'apache-arrow'
import test from 'ava'
import type { ExecutionContext } from 'ava'
import { embedBatch, version } from 'embedding-engine'

import { model, texts } from './helpers/models.ts'
import { ROOT, runCli, runNode } from './helpers/process.ts'
import { largestDifference } from './helpers/tolerance.ts'

const MODEL = model('bert-mean')
const WITH_MODEL = ['--model', MODEL, '--device', 'cpu']

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'embedding-engine-cli-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test.serial('texts as arguments give a JSON line each', async (t) => {
  const { stdout, code, stderr } = await runCli(['embed', 'Hello', 'two words', ...WITH_MODEL])
  t.is(code, 0, stderr)
  t.is(stderr, '')
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const expected = await embedBatch(['Hello', 'two words'], { model: MODEL })
  t.deepEqual(
    lines.map(({ embedding: _, ...line }) => line),
    ['Hello', 'two words'].map((text, index) => ({
      index,
      text,
      tokens: expected.usage.tokensPerText[index],
      truncated: false,
      model: MODEL,
      space: expected.space,
    })),
  )
  for (const [i, { embedding }] of lines.entries())
    t.true(largestDifference(embedding as number[], expected.embeddings[i]!) < 1e-6)
})

test.serial('lines of standard input, with either line end', async (t) => {
  const { stdout, code, stderr } = await runCli(['embed', ...WITH_MODEL], { input: 'one\r\ntwo\nthree' })
  t.is(code, 0, stderr)
  t.deepEqual(
    stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { text: string }).text),
    ['one', 'two', 'three'],
  )
})

test.serial('files are embedded whole, and named', async (t) => {
  const files = ['a.txt', 'b.txt'].map((name) => join(folder(t), name))
  for (const file of files) writeFileSync(file, `several\nlines of ${file}\n`)
  const { stdout, code, stderr } = await runCli(['embed', '--file', ...files, ...WITH_MODEL])
  t.is(code, 0, stderr)
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { file: string; text?: string })
  t.deepEqual(
    lines.map(({ file }) => file),
    files,
  )
  t.is(lines[0]!.text, undefined)
})

test.serial('options of the call', async (t) => {
  const args = [
    'embed',
    'Hello',
    '--model',
    model('matryoshka'),
    '--dimensions',
    '32',
    '--precision',
    'int8',
    '--task',
    'query',
  ]
  const { stdout, code, stderr } = await runCli([...args, '--threads', '1', '--dtype', 'float32', '--no-truncate'])
  t.is(code, 0, stderr)
  const { embedding } = JSON.parse(stdout) as { embedding: number[] }
  t.is(embedding.length, 32)
  t.true(embedding.every((x) => Number.isInteger(x) && x >= -127 && x <= 127))

  const own = await runCli(['embed', 'Hello', '--model', model('xlmr-e5'), '--prompt', 'query: '])
  const asTask = await runCli(['embed', 'Hello', '--model', model('xlmr-e5'), '--task', 'query'])
  const none = await runCli(['embed', 'query: Hello', '--model', model('xlmr-e5'), '--no-prompt'])
  const vector = ({ stdout: line }: { stdout: string }) => (JSON.parse(line) as { embedding: number[] }).embedding
  t.true(largestDifference(vector(own), vector(asTask)) < 1e-5)
  t.true(largestDifference(vector(none), vector(asTask)) < 1e-5)
})

test.serial('a table for people', async (t) => {
  const { stdout, code } = await runCli([
    'embed',
    'Hello\nthere',
    texts.long_600 ?? 'word '.repeat(400),
    '--format',
    'table',
    ...WITH_MODEL,
  ])
  t.is(code, 0)
  const [head, columns, first, second, note] = stdout.split('\n')
  t.regex(head!, /on cpu \((float32|bfloat16)\), 64 dimensions, space /)
  t.is(columns, '     #  tokens  vector                                text')
  t.regex(first!, /^ {5}0 +\d+ {2}\[( *-?\d\.\d{4}){4} …\] +Hello there$/)
  t.regex(second!, /^ {5}1 +256! /)
  t.is(note, '! was cut at 256 tokens')
})

for (const toFile of [true, false]) {
  test.serial(`npy ${toFile ? 'to a file' : 'to a pipe'}`, async (t) => {
    const path = join(folder(t), 'vectors.npy')
    const input = Array.from({ length: 300 }, (_, i) => `line ${i}`).join('\n')
    const script = `${ROOT}/dist/lib/cli/main.js`
    // Through a shell where it is a pipe, so that the bytes stay as they are.
    const { code, stderr } = toFile
      ? await runCli(['embed', ...WITH_MODEL, '--output', path], { input })
      : await runNode([
          '-e',
          `require('node:fs').writeFileSync(${JSON.stringify(path)}, require('node:child_process').execFileSync(process.execPath, ${JSON.stringify([script, 'embed', ...WITH_MODEL, '--format', 'npy'])}, { input: ${JSON.stringify(input)} }))`,
        ])
    t.is(code, 0, stderr)
    const bytes = readFileSync(path)
    t.is(bytes.subarray(0, 8).toString('latin1'), '\x93NUMPY\x01\x00')
    t.is(bytes.readUInt16LE(8), 118)
    t.is(bytes.subarray(10, 128).toString().trim(), "{'descr': '<f4', 'fortran_order': False, 'shape': (300, 64), }")
    t.is(bytes.length, 128 + 300 * 64 * 4)
    const { embeddings } = await embedBatch(['line 299'], { model: MODEL })
    const last = Float32Array.from({ length: 64 }, (_, i) => bytes.readFloatLE(bytes.length - 256 + 4 * i))
    t.true(largestDifference(last, embeddings[0]!) < 1e-5)
  })
}

for (const [precision, width] of [
  ['float32', 64],
  ['int8', 64],
  ['ubinary', 8],
] as const) {
  test.serial(`Arrow, ${precision}`, async (t) => {
    const path = join(folder(t), 'vectors.arrow')
    const file = join(folder(t), 'note.txt')
    writeFileSync(file, 'a note')
    const words = Array.from({ length: 200 }, (_, i) => `text ${i} é`)
    const { code, stderr } = await runCli([
      'embed',
      ...words,
      '--file',
      file,
      ...WITH_MODEL,
      '--precision',
      precision,
      '--output',
      path,
    ])
    t.is(code, 0, stderr)
    const table = tableFromIPC(readFileSync(path))
    t.is(table.numRows, 201)
    t.true(table.batches.length > 1, 'a record batch for each part')
    const expected = await embedBatch([...words, 'a note'], { model: MODEL, precision })
    t.is(table.schema.metadata.get('space'), expected.space)
    t.like(JSON.parse(table.schema.metadata.get('model')!), { id: MODEL })
    for (const i of [0, 127, 128, 199, 200]) {
      const row = table.get(i)!.toJSON() as {
        text: string | null
        file: string | null
        tokens: number
        truncated: boolean
        embedding: { toArray(): ArrayLike<number> }
      }
      t.is(row.text, i < 200 ? words[i]! : null)
      t.is(row.file, i < 200 ? null : file)
      t.is(row.tokens, expected.usage.tokensPerText[i]!)
      t.is(row.truncated, false)
      const vector = row.embedding.toArray()
      t.is(vector.length, width)
      t.true(largestDifference(vector, expected.embeddings[i]!) < 1e-5)
    }
  })
}

test.serial('an Arrow file of nothing can be read', async (t) => {
  const path = join(folder(t), 'empty.arrow')
  const { code, stderr } = await runCli(['embed', ...WITH_MODEL, '--output', path], { input: '' })
  t.is(code, 0, stderr)
  t.is(tableFromIPC(readFileSync(path)).numRows, 0)
})

test.serial('a failure leaves no half-written file, and what was there', async (t) => {
  const path = folder(t)
  const output = join(path, 'vectors.jsonl')
  writeFileSync(output, 'from before')
  const { code, stderr } = await runCli(['embed', ...WITH_MODEL, '--output', output], { input: 'good\n\n' })
  t.is(code, 1)
  t.regex(stderr, /\[EMPTY_TEXT\]/)
  t.deepEqual(readdirSync(path), ['vectors.jsonl'])
  t.is(readFileSync(output, 'utf8'), 'from before')
})

const failures: [args: string[], code: number, stderr: RegExp][] = [
  [['embed', 'a', '--model', './nowhere'], 1, /\[MODEL_NOT_FOUND\]/],
  [['embed', 'a', ...WITH_MODEL, '--file', '/nowhere.txt'], 1, /nowhere\.txt/],
  [['embed', 'a', '--dimensions', 'many'], 2, /--dimensions/],
  [['embed', 'a', '--task', 'search'], 2, /document/],
  [['embed', 'a', '--tasks', 'query'], 2, /Did you mean --task/],
  [['embed', 'a', '--device', 'gpu'], 2, /\[INVALID_OPTION\]/],
  [['embed', 'a', ...WITH_MODEL, '--dimensions', '7'], 2, /\[INVALID_OPTION\]/],
  [['embed', 'a', ...WITH_MODEL, '--json', '--format', 'npy'], 2, /exclude each other/],
  [['embedd', 'a'], 2, /Did you mean embed/],
]
for (const [args, code, stderr] of failures) {
  test.serial(`${args.map((arg) => arg.replace(MODEL, 'MODEL')).join(' ')} exits with ${code}`, async (t) => {
    const outcome = await runCli(args)
    t.is(outcome.code, code, outcome.stderr)
    t.regex(outcome.stderr, stderr)
    t.is(outcome.stdout, '')
  })
}

test.serial('Ctrl-C ends with 130, and leaves no half-written file', async (t) => {
  const path = folder(t)
  const outcome = await runCli(
    [
      'embed',
      '--model',
      model('qwen3-tiny'),
      '--output',
      join(path, 'x.npy'),
      '--format',
      'npy',
      ...Array.from({ length: 30 }, () => texts.long_20000!.slice(0, 60_000)),
    ],
    {
      // Once it has begun to write.
      interruptWhen: () => readdirSync(path).length > 0,
    },
  )
  t.is(outcome.code, 130, outcome.stderr)
  t.is(outcome.stderr, '')
  t.deepEqual(readdirSync(path), [])
})

test.serial('a reader that leaves early is no failure', async (t) => {
  const input = Array.from({ length: 2000 }, (_, i) => `line ${i}`).join('\n')
  const outcome = await runCli(['embed', ...WITH_MODEL], { input, closeStdoutAfter: 100 })
  t.is(outcome.code, 0, outcome.stderr)
  t.is(outcome.stderr, '')
})

test.serial('help and version', async (t) => {
  t.is((await runCli(['--version'])).stdout.trim(), version)
  const { stdout, code } = await runCli(['embed', '--help'])
  t.is(code, 0)
  for (const option of [
    '--model',
    '--task',
    '--dimensions',
    '--precision',
    '--device',
    '--dtype',
    '--threads',
    '--format',
    '--output',
    '--file',
  ]) {
    t.true(stdout.includes(option), option)
  }
})

test.serial('doctor for people and for programs', async (t) => {
  const people = await runCli(['doctor', '--model', MODEL])
  t.is(people.code, 0, people.stdout)
  for (const word of [
    'Native addon',
    'ONNX Runtime',
    'Devices',
    'hub cache',
    'own state',
    MODEL,
    version,
    process.version,
  ]) {
    t.true(people.stdout.includes(word), `${word} in ${people.stdout}`)
  }
  const { stdout, code } = await runCli(['doctor', '--json'])
  t.is(code, 0)
  const diagnosis = JSON.parse(stdout) as Record<string, any>
  t.true(diagnosis.ok)
  t.is(diagnosis.core.version, version)
  t.is(typeof diagnosis.core.onnxRuntime.version, 'string')
  t.is(typeof diagnosis.core.cache.freeSpace, 'number')
  t.true(diagnosis.core.devices.length > 1)
})

test.serial('doctor fails where something that was asked for is missing', async (t) => {
  const noModel = await runCli(['doctor', '--model', './nowhere'])
  t.is(noModel.code, 1)
  t.regex(noModel.stdout, /✗ model \.\/nowhere/)
  const noDevice = await runCli(['doctor', '--device', process.platform === 'darwin' ? 'cuda' : 'metal', '--json'])
  t.is(noDevice.code, 1)
  t.false((JSON.parse(noDevice.stdout) as { device: { available: boolean } }).device.available)
  const noAddon = await runCli(['doctor'], { env: { EMBEDDING_ENGINE_ADDON: '/nowhere.node' } })
  t.is(noAddon.code, 1)
  t.regex(noAddon.stdout, /✗ \/nowhere\.node/)
  const noOnnx = await runCli(['doctor', '--json'], { env: { EMBEDDING_ENGINE_ONNXRUNTIME: '/nowhere.so' } })
  t.truthy((JSON.parse(noOnnx.stdout) as Record<string, any>).core.onnxRuntime.reason)
})

test.serial('models list', async (t) => {
  const people = await runCli(['models'])
  t.is(people.code, 0)
  t.regex(people.stdout, /^alias +model +dims +context +licence +on disk +path\n/)
  t.regex(people.stdout, /code.* +Qodo\/Qodo-Embed-1-1\.5B/)
  const { stdout } = await runCli(['models', 'list', '--json'])
  t.true((JSON.parse(stdout) as { id: string }[]).some(({ id }) => id === 'jinaai/jina-embeddings-v3'))
})
