// npm run build:cuda: the addon for Linux x64 as it is published, with CUDA inside, in npm/linux-x64-gnu/. Needs neither
// a GPU nor an installed CUDA: the compiler is fetched (scripts/cuda/toolkit.mjs). Then checks what was built.
//   --toolkit 13.0   another toolkit of scripts/cuda/toolkits.json
//   --glibc 2.28     for systems down to this version, by cargo-zigbuild
//   --check          only checks what lies there
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'

import { cudaCargo } from './cuda/cargo.mjs'
import { checkAddon } from './cuda/check.mjs'
import { step } from './cuda/steps.mjs'
import { FEATURES, distAddon } from './dist.mjs'
import { checkGlibc, strip } from './pack.mjs'
import { ROOT, cargoBuild, main, replaceFile } from './setup.mjs'

const KEY = 'linux-x64-gnu'

/** Builds, unless only the checks are wanted, and checks. */
export async function buildCuda({ toolkit, glibc, check = false }) {
  const addon = distAddon(KEY)
  const { home, args, env } = await cudaCargo(toolkit)
  if (!check) {
    const options = ['--profile', 'dist', '--features', FEATURES[KEY].join(','), ...args]
    if (glibc) options.push('--target', `x86_64-unknown-linux-gnu.${glibc}`)
    await step('addon', 'compiling (from nothing about 10 minutes on two cores) …', async () => {
      replaceFile(await cargoBuild(options, { command: glibc ? 'zigbuild' : 'build', env }), addon)
      strip(addon)
    })
  }
  if (glibc) console.log(`[check] ✓ needs glibc ${checkGlibc(addon, glibc)}, at most ${glibc} allowed`)
  await checkAddon(addon, home)
  console.log(`[cuda] ${addon.slice(ROOT.length)}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await main(async () => {
    const options = { toolkit: { type: 'string' }, glibc: { type: 'string' }, check: { type: 'boolean' } }
    await buildCuda(parseArgs({ options }).values)
  })
