// The package as others meet it: its exports, its types, its platform packages.
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import test from 'ava'
import * as api from 'embedding-engine'
import * as train from 'embedding-engine/train'

import { ROOT, runModule } from './helpers/process.ts'

/** The ONNX Runtime library that each platform package carries. */
const LIBRARIES: Record<string, string | undefined> = {
  'darwin-arm64': 'libonnxruntime.1.dylib',
  'darwin-x64': undefined,
  'linux-arm64-gnu': 'libonnxruntime.so.1',
  'linux-x64-gnu': 'libonnxruntime.so.1',
  'win32-arm64-msvc': 'onnxruntime.dll',
  'win32-x64-msvc': 'onnxruntime.dll',
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string
  dependencies: Record<string, string>
}

test('what is exported', (t) => {
  t.deepEqual(Object.keys(api).sort(), [
    'EmbeddingEngine',
    'EmbeddingError',
    'chunkCode',
    'chunkFiles',
    'countTokens',
    'embed',
    'embedBatch',
    'embedChunks',
    'embedStream',
    'listDevices',
    'listModels',
    'openIndex',
    'preloadModels',
    'similarity',
    'topK',
    'version',
  ])
  t.deepEqual(Object.keys(train), ['evaluate'])
})

test('the version is the same everywhere', (t) => {
  t.is(api.version, manifest.version)
  const cargo = readFileSync(join(ROOT, 'Cargo.toml'), 'utf8')
  t.regex(cargo, new RegExp(`^version = "${manifest.version}"$`, 'm'))
  for (const folder of readdirSync(join(ROOT, 'npm'))) {
    t.is(
      (JSON.parse(readFileSync(join(ROOT, 'npm', folder, 'package.json'), 'utf8')) as { version: string }).version,
      manifest.version,
    )
  }
})

test('there is a platform package for each platform, with what the loader looks for', (t) => {
  t.deepEqual(readdirSync(join(ROOT, 'npm')).sort(), Object.keys(LIBRARIES))
  for (const [key, onnxRuntime] of Object.entries(LIBRARIES)) {
    const { name, files } = JSON.parse(readFileSync(join(ROOT, 'npm', key, 'package.json'), 'utf8')) as {
      name: string
      files: string[]
    }
    t.is(name, `embedding-engine-${key}`)
    t.true(files.includes(`embedding-engine.${key}.node`))
    if (onnxRuntime) t.true(files.includes(onnxRuntime), key)
  }
})

test('require works, and gives the same module', async (t) => {
  const required = createRequire(join(ROOT, 'package.json'))('embedding-engine') as typeof api
  t.is(required.embed, api.embed)
})

test('importing loads no addon and nothing but our own files', async (t) => {
  const { stdout, stderr } = await runModule(
    `await import('embedding-engine')
    const loaded = process.report.getReport().sharedObjects.filter((file) => /embedding|onnx/.test(file))
    console.log(JSON.stringify(loaded))`,
  )
  t.is(stdout.trim(), '[]', stderr)
})
