// What must hold of an addon with CUDA in it before it is published. None of it needs a GPU.
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { ROOT, SetupError } from '../setup.mjs'
import { assemble, countMachineCode, knownCards, ptxModules } from './device-code.mjs'
import { neededLibraries, openSymbols, sections } from './elf.mjs'
import { output } from './steps.mjs'

/** Stripped. Kernels for quantised models alone would be 40 MB. */
const LARGEST_MB = 30
/** The C library and the compiler's own: what every Linux with Node has. */
const ALLOWED = /^(libc|libm|libgcc_s|libdl|libpthread|librt|ld-linux-x86-64)\.so\.\d$/
/** Ampere (data centre, desktop), Ada, Hopper: these at least, and all later ones that the toolkit knows. */
const CARDS = [80, 86, 89, 90]

/** Checks the stripped addon, tells what it found, and throws at the first thing that is wrong. */
export async function checkAddon(addon, home) {
  const tell = (what) => console.log(`[check] ✓ ${what}`)
  const megabytes = statSync(addon).size / 1e6
  if (megabytes > LARGEST_MB)
    throw new SetupError(
      `${addon} has ${megabytes.toFixed(1)} MB, more than ${LARGEST_MB}. Its sections: ${largest(sections(addon))}.`,
    )
  tell(`${megabytes.toFixed(1)} MB stripped, at most ${LARGEST_MB} allowed`)

  const needed = neededLibraries(addon)
  const foreign = needed.filter((name) => !ALLOWED.test(name))
  if (foreign.length > 0)
    throw new SetupError(
      `The addon needs ${foreign.join(', ')}, without which it would not load. CUDA is looked up at run time only.`,
    )
  tell(`needs only ${needed.join(', ')}`)

  const open = openSymbols(addon).filter((name) => !name.startsWith('napi_'))
  if (open.length > 0)
    throw new SetupError(
      `Nothing defines ${open.slice(0, 5).join(', ')}, which the addon calls (${open.length} such symbols). Does something use quantised tensors (QMatMul)? Their kernels are left out, see scripts/cuda/sources.mjs.`,
    )
  tell('calls nothing that is left out')

  const bytes = readFileSync(addon)
  const machineCode = countMachineCode(bytes)
  if (machineCode > 0)
    throw new SetupError(`The addon has ${machineCode} pieces of GPU machine code; only PTX serves every card.`)
  const modules = ptxModules(bytes)
  if (modules.length === 0) throw new SetupError('The addon has no PTX: it was built without the GPU.')
  for (const { text, version, target, kernels } of modules)
    console.log(
      `[check]   PTX ${version} for ${target}, ${(text.length / 1e6).toFixed(2)} MB, ${kernels.length} kernels: ${kernels.slice(0, 3).join(', ')} …`,
    )
  const others = modules.filter(({ target }) => target !== 'sm_80')
  if (others.length > 0)
    throw new SetupError(`PTX for ${others[0].target}: it must be for sm_80, to serve cards from there on.`)
  const size = modules.reduce((sum, { text }) => sum + text.length, 0) / 1e6
  tell(`${modules.length} modules of PTX, ${size.toFixed(1)} MB, no machine code`)

  const ptxas = join(home, 'bin', 'ptxas')
  const cards = knownCards(ptxas, CARDS[0])
  const unknown = CARDS.filter((card) => !cards.includes(card))
  if (unknown.length > 0) throw new SetupError(`This toolkit's ptxas does not know sm_${unknown.join(', sm_')}.`)
  await assemble(ptxas, modules, cards)
  tell(`ptxas accepts all of them for sm_${cards.join(', sm_')}`)

  tell(`loads in Node here: ${load(addon)}`)
}

function largest(all) {
  const sorted = all.toSorted((a, b) => b.size - a.size).slice(0, 5)
  return sorted.map(({ name, size }) => `${name} ${(size / 1e6).toFixed(1)} MB`).join(', ')
}

/** In a process of its own, which must end by itself. */
function load(addon) {
  const source = `process.dlopen(module = { exports: {} }, ${JSON.stringify(addon)})
    console.log(Object.keys(module.exports).length, 'exports')`
  return output(process.execPath, ['--input-type=commonjs', '--eval', source], { cwd: ROOT }).trim()
}
