// The engines that are compared, and how each is started.
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))

/** The engine of this checkout. */
export const OURS = 'embedding-engine'

/** The others, by their names on the command line. */
export const PEERS = { st: 'sentence-transformers', ort: 'onnxruntime', llama: 'node-llama-cpp' }

/** Every number of threads that one of the Python libraries listens to. */
const threadEnv = (threads) =>
  Object.fromEntries(
    ['OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'RAYON_NUM_THREADS'].map((name) => [
      name,
      `${threads}`,
    ]),
  )

/** The engines of a run, ours first; each a process of its own. */
export function engines({ peers, low, threads, python }) {
  const node = (name, file, precision) => ({
    name,
    precision,
    command: [process.execPath, join(HERE, 'workers', file)],
    env: { PYTHONDONTWRITEBYTECODE: '1' },
  })
  const py = (name, file, precision) => ({
    name,
    precision,
    command: [python, join(HERE, 'workers', file)],
    env: { ...threadEnv(threads), HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' },
    missing: 'install Python 3.10 or newer, or name it with --python',
  })
  const precisions = low ? ['f32', 'bf16'] : ['f32']
  const of = {
    st: () => precisions.map((precision) => py(PEERS.st, 'sentence_transformers_worker.py', precision)),
    ort: () => [py(PEERS.ort, 'onnxruntime_worker.py', 'f32')],
    llama: () => [...precisions, 'q8_0'].map((precision) => node(PEERS.llama, 'node_llama_cpp.mjs', precision)),
  }
  const ours = low ? [...precisions, 'int8'] : precisions
  return [...ours.map((precision) => node(OURS, 'ours.mjs', precision)), ...peers.flatMap((peer) => of[peer]())]
}

/** The folder for a model's conversions: another one as soon as the model or the converters change. */
export function workFolder(root, model) {
  const hash = createHash('sha256').update(realpathSync(model))
  for (const name of readdirSync(model).sort()) {
    const { size, mtimeMs } = statSync(join(model, name))
    hash.update(`${name} ${size} ${mtimeMs}\n`)
  }
  const converters = join(HERE, 'convert')
  for (const name of readdirSync(converters).sort())
    if (name.endsWith('.py')) hash.update(readFileSync(join(converters, name)))
  return join(root, `${basename(model)}-${hash.digest('hex').slice(0, 12)}`)
}
