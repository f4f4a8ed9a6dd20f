// npm run build:cuda: the addon for Linux x64 as it is published, with CUDA inside, in npm/linux-x64-gnu/. Needs neither
// a GPU nor an installed CUDA: the compiler is fetched (scripts/cuda/toolkit.mjs). Then checks what was built.
//   --toolkit 13.0   another toolkit of scripts/cuda/toolkits.json
//   --glibc 2.28     for systems down to this version, by cargo-zigbuild
//   --check          only checks what lies there
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { cudaCargo } from './cuda/cargo.mjs'
import { checkAddon } from './cuda/check.mjs'
import { step } from './cuda/steps.mjs'
import { ROOT, cargoBuild, main, replaceFile } from './setup.mjs'

const ADDON = join(ROOT, 'npm/linux-x64-gnu/embedding-engine.linux-x64-gnu.node')

await main(async () => {
  const { values } = parseArgs({
    options: { toolkit: { type: 'string' }, glibc: { type: 'string' }, check: { type: 'boolean' } },
  })
  const { home, args, env } = await cudaCargo(values.toolkit)
  if (!values.check) {
    const target = values.glibc ? ['--target', `x86_64-unknown-linux-gnu.${values.glibc}`] : []
    await step('addon', 'compiling (from nothing about 10 minutes on two cores) …', async () => {
      const library = await cargoBuild(['--profile', 'dist', '--features', 'cuda', ...args, ...target], {
        command: values.glibc ? 'zigbuild' : 'build',
        env,
      })
      replaceFile(library, ADDON)
      execFileSync('strip', ['--strip-unneeded', ADDON])
    })
  }
  await checkAddon(ADDON, home)
  console.log(`[cuda] ${ADDON.slice(ROOT.length)}`)
})
