// npm run build:dist: the addon of this platform as it is published, in npm/. On Linux x64 that is npm run build:cuda.
//   --glibc 2.28     on Linux: for systems down to this version, by cargo-zigbuild
import { parseArgs } from 'node:util'

import { buildCuda } from './build-cuda.mjs'
import { FEATURES, KEY, distAddon } from './dist.mjs'
import { checkGlibc, strip } from './pack.mjs'
import { cargoBuild, main, replaceFile } from './setup.mjs'

const ARCHITECTURES = { x64: 'x86_64', arm64: 'aarch64' }

await main(async () => {
  const { values } = parseArgs({ options: { glibc: { type: 'string' } } })
  if (KEY === 'linux-x64-gnu') return buildCuda(values)
  const options = ['--profile', 'dist', '--features', (FEATURES[KEY] ?? []).join(',')]
  if (values.glibc) options.push('--target', `${ARCHITECTURES[process.arch]}-unknown-linux-gnu.${values.glibc}`)
  const library = await cargoBuild(options, { command: values.glibc ? 'zigbuild' : 'build' })
  replaceFile(library, distAddon(KEY))
  strip(distAddon(KEY))
  if (values.glibc) console.log(`[check] ✓ needs glibc ${checkGlibc(distAddon(KEY), values.glibc)}`)
})
