// node-llama-cpp on the CPU, over a GGUF file that convert/gguf_file.py writes from the folder. Its API takes one text
// at a time (LlamaEmbeddingContext.getEmbeddingFor).
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { Unavailable, serve } from './serve.mjs'

const CONVERTER = fileURLToPath(new URL('../convert/gguf_file.py', import.meta.url))
/** Tokens of the context: more than the longest text of any set. */
const CONTEXT = 640

/** The folder of the package, looked up from `from` as Node would. */
function findPackage(from) {
  const places = createRequire(join(from, 'package.json')).resolve.paths('node-llama-cpp') ?? []
  const folder = places.map((place) => join(place, 'node-llama-cpp')).find((place) => existsSync(place))
  if (folder) return folder
  const help = 'npm install node-llama-cpp in a folder of its own, then --llama-from <that folder>'
  throw new Unavailable('not installed', `node-llama-cpp is not found from ${from}`, help)
}

function convert(python, model, file, precision) {
  if (existsSync(file)) return
  const { status, stderr, error } = spawnSync(python, [CONVERTER, model, file, precision], { encoding: 'utf8' })
  if (status === 0) return
  const message = error?.message ?? stderr.trim().split('\n').at(-1)
  if (/No module named/.test(message))
    throw new Unavailable('not installed', message, `${python} -m pip install -r benches/compare/requirements.txt`)
  const [, unsupported] = /^not supported: (.*)/.exec(message) ?? []
  throw new Unavailable(unsupported ? 'not supported' : 'failed', unsupported ?? message)
}

await serve(async ({ model, threads, precision, work, python, llamaFrom }) => {
  const folder = findPackage(llamaFrom)
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const modelPath = join(work, 'gguf', `${precision}.gguf`)
  convert(python, model, modelPath, precision)
  const { getLlama, LlamaLogLevel } = await import(pathToFileURL(join(folder, 'dist/index.js')))
  // Never builds or downloads anything: what npm installed is what is measured.
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    maxThreads: threads,
    logLevel: LlamaLogLevel.error,
    progressLogs: false,
  })
  const loaded = await llama.loadModel({ modelPath, gpuLayers: 0 })
  const context = await loaded.createEmbeddingContext({ contextSize: CONTEXT, batchSize: CONTEXT, threads })
  return {
    info: {
      versions: { 'node-llama-cpp': version, 'llama.cpp': llama.llamaCppRelease.release },
      notes: 'one text at a time, as its API takes them',
    },
    encode: async (texts) => {
      const vectors = []
      for (const text of texts) vectors.push(Float32Array.from((await context.getEmbeddingFor(text)).vector))
      return vectors
    },
    count: async (texts) => texts.map((text) => context.calculateInputLength(text)),
  }
})
