// Broken model folders: each a coded error that names the file.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'
import type { ExecutionContext } from 'ava'
import { EmbeddingEngine } from 'embedding-engine'
import type { ErrorCode } from 'embedding-engine'

import { rejectsWith } from './helpers/errors.ts'
import { brokenCopy, model } from './helpers/models.ts'

const engine = new EmbeddingEngine({ device: 'cpu' })
test.after.always(() => engine.dispose())

/** Asserts that a folder is refused, by embed and by preload, with an error that names the file. */
async function refused(
  t: ExecutionContext,
  folder: string,
  code: ErrorCode,
  file: string,
  ...words: (string | RegExp)[]
): Promise<void> {
  await rejectsWith(t, engine.embed('some text', { model: folder }), code, file, ...words)
  await rejectsWith(t, engine.preload(folder), code, file, ...words)
}

/** Changes a JSON file. */
function edit(path: string, change: (json: Record<string, any>) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  change(json)
  writeFileSync(path, JSON.stringify(json))
}

/** The header of a safetensors file, changed, with its data kept. */
function editHeader(path: string, change: (header: Record<string, any>) => void): void {
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString('utf8')) as Record<string, unknown>
  change(header)
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(path, Buffer.concat([size, text, bytes.subarray(8 + length)]))
}

const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const
const INDEX = 'model.safetensors.index.json'
const WEIGHTS = 'model.safetensors'

test('a missing shard', async (t) => {
  const folder = brokenCopy(t, 'qodo-tiny')
  rmSync(join(folder, SHARDS[1]))
  await refused(t, folder, 'BAD_CHECKPOINT', SHARDS[1])
})

test('a file that was cut', async (t) => {
  const folder = brokenCopy(t, 'qodo-tiny')
  truncateSync(join(folder, SHARDS[0]), 5000)
  await refused(t, folder, 'BAD_CHECKPOINT', SHARDS[0])
})

test('an empty file', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  writeFileSync(join(folder, WEIGHTS), '')
  await refused(t, folder, 'BAD_CHECKPOINT', WEIGHTS)
})

test('an absurd header', async (t) => {
  for (const size of [2n ** 63n, 2n ** 40n, 17n]) {
    const folder = brokenCopy(t, 'bert-mean')
    const bytes = readFileSync(join(folder, WEIGHTS))
    bytes.writeBigUInt64LE(size, 0)
    writeFileSync(join(folder, WEIGHTS), bytes)
    await refused(t, folder, 'BAD_CHECKPOINT', WEIGHTS)
  }
})

test('NaN among the weights', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  const path = join(folder, WEIGHTS)
  const bytes = readFileSync(path)
  bytes.fill(0xff, bytes.length - 64 * 1024)
  writeFileSync(path, bytes)
  // Found at loading, or at the first vector that it spoils.
  const error = await t.throwsAsync(engine.embed('some text', { model: folder }))
  t.true(['BAD_CHECKPOINT', 'NON_FINITE'].includes((error as { code?: string }).code ?? ''), String(error))
})

test('a tensor of another shape', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  editHeader(join(folder, WEIGHTS), (header) => {
    const name = Object.keys(header).find((key) => key.endsWith('word_embeddings.weight'))!
    header[name].shape.reverse()
  })
  await refused(t, folder, 'BAD_CHECKPOINT', WEIGHTS, 'word_embeddings.weight')
})

test('a missing tensor', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  editHeader(join(folder, WEIGHTS), (header) => {
    const name = Object.keys(header).find((key) => key.endsWith('word_embeddings.weight'))!
    header.another = header[name]
    delete header[name]
  })
  await refused(t, folder, 'BAD_CHECKPOINT', 'word_embeddings.weight')
})

test('an unknown architecture', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  edit(join(folder, 'config.json'), (config) => {
    config.model_type = 'mamba'
    config.architectures = ['MambaModel']
  })
  await refused(t, folder, 'MODEL_UNSUPPORTED', 'config.json', 'mamba')
})

test('a module that is not understood', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  edit(join(folder, 'modules.json'), (modules) => {
    modules[1].type = 'sentence_transformers.models.CNN'
  })
  await refused(t, folder, 'MODEL_UNSUPPORTED', 'modules.json', 'CNN')
})

test('a shard whose name points outside the folder', async (t) => {
  for (const outside of ['../outside.safetensors', '/etc/passwd']) {
    const folder = brokenCopy(t, 'qodo-tiny')
    edit(join(folder, INDEX), (index) => {
      for (const name of Object.keys(index.weight_map)) index.weight_map[name] = outside
    })
    await refused(t, folder, 'BAD_CHECKPOINT', INDEX, outside)
  }
})

test('broken JSON', async (t) => {
  for (const file of ['config.json', 'modules.json', 'tokenizer.json']) {
    const folder = brokenCopy(t, 'bert-mean')
    writeFileSync(join(folder, file), '{"half": ')
    await refused(t, folder, 'BAD_CHECKPOINT', file)
  }
})

test('no tokenizer', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  rmSync(join(folder, 'tokenizer.json'))
  await refused(t, folder, 'MODEL_NOT_FOUND', 'tokenizer.json')
})

test('a graph that is none', async (t) => {
  const folder = brokenCopy(t, 'onnx-bert')
  const graph = ['model.onnx', 'onnx/model.onnx'].map((file) => join(folder, file)).find((path) => readable(path))!
  writeFileSync(graph, 'no graph at all')
  await refused(t, folder, 'BAD_CHECKPOINT', 'model.onnx')
})

test('external data that is missing', async (t) => {
  const folder = brokenCopy(t, 'onnx-jina')
  rmSync(join(folder, 'onnx', 'model.onnx_data'))
  await refused(t, folder, 'BAD_CHECKPOINT', 'model.onnx')
})

test('a folder that is not there, is empty, or is a file', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'embedding-engine-broken-'))
  t.teardown(() => rmSync(parent, { recursive: true }))
  await refused(t, join(parent, 'nowhere'), 'MODEL_NOT_FOUND', 'nowhere')
  mkdirSync(join(parent, 'empty'))
  const error = await t.throwsAsync(engine.embed('a', { model: join(parent, 'empty') }))
  t.true(['MODEL_NOT_FOUND', 'MODEL_UNSUPPORTED', 'BAD_CHECKPOINT'].includes((error as { code?: string }).code ?? ''))
  t.true(error?.message.includes('empty'))
})

test('a hub id that is not in the cache tells how to get it', async (t) => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'embedding-engine-cache-'))
  t.teardown(() => rmSync(cacheDir, { recursive: true }))
  await using own = new EmbeddingEngine({ cacheDir, offline: true })
  for (const name of ['Qwen/Qwen3-Embedding-0.6B', 'code', 'text']) {
    await rejectsWith(t, own.embed('a', { model: name }), 'OFFLINE', cacheDir, 'models download')
  }
})

test('a folder of links, as the hub cache has them, loads', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'embedding-engine-links-'))
  t.teardown(() => rmSync(parent, { recursive: true }))
  const folder = join(parent, 'linked')
  symlinkSync(model('bert-mean'), folder)
  await t.notThrowsAsync(engine.embed('a', { model: folder }))
})

test('after a failure the same folder works once it is mended', async (t) => {
  const folder = brokenCopy(t, 'bert-mean')
  const path = join(folder, WEIGHTS)
  const whole = readFileSync(path)
  truncateSync(path, 1000)
  await rejectsWith(t, engine.embed('a', { model: folder }), 'BAD_CHECKPOINT', WEIGHTS)
  writeFileSync(path, whole)
  await t.notThrowsAsync(engine.embed('a', { model: folder }))
})

function readable(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch {
    return false
  }
}
