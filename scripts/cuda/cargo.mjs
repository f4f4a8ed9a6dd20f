// cargo with the toolkit and the changed sources: node scripts/cuda/cargo.mjs clippy -p embedding-engine --features cuda
// What it builds lies in target/cuda, so that it never takes the place of the plain build.
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { ROOT, main, run } from '../setup.mjs'
import { changedSources } from './sources.mjs'
import { DEFAULT_TOOLKIT, toolkit } from './toolkit.mjs'

/** Ampere: its PTX is compiled by the driver for every later card. 90 would become sm_90a, which does not carry forward. */
const COMPUTE_CAPABILITY = '80'

/** The arguments and variables that cargo needs beside its own. Each toolkit has a folder of its own: cargo does not see that it changed. */
export async function cudaCargo(version = DEFAULT_TOOLKIT) {
  const home = await toolkit(version)
  const folder = version === DEFAULT_TOOLKIT ? 'cuda' : `cuda-${version}`
  return {
    home,
    args: ['--config', `paths=${JSON.stringify(changedSources())}`],
    env: {
      CARGO_TARGET_DIR: join(ROOT, 'target', folder),
      CUDA_HOME: home,
      CUDA_PATH: home,
      CUDA_ROOT: home,
      CUDA_TOOLKIT_ROOT_DIR: home,
      NVCC: join(home, 'bin', 'nvcc'),
      EMBEDDING_ENGINE_CUDA_VERSION: version,
      PATH: [join(home, 'bin'), process.env.PATH].join(delimiter),
      CUDA_COMPUTE_CAP: COMPUTE_CAPABILITY,
      // One nvcc for each core; each takes up to 1 GB.
      CUDAFORGE_THREADS: process.env.CUDAFORGE_THREADS ?? String(Math.min(availableParallelism(), 8)),
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await main(async () => {
    const { args, env } = await cudaCargo()
    const [command, ...rest] = process.argv.slice(2)
    // Before `--`, which some commands pass on.
    await run('cargo', [command, ...args, ...rest], { env })
  })
