// The GPU's code inside an addon: PTX, which is text, and machine code for one generation of cards, which is not wanted.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { SetupError } from '../setup.mjs'
import { output } from './steps.mjs'

/** The machine number of cubins, which are ELF files (NVIDIA's, as binutils has it). */
const EM_CUDA = 190
/** What a bundle of cubins begins with: 0xBA55ED50, little-endian. */
const FATBIN_MAGIC = Buffer.from([0x50, 0xed, 0x55, 0xba])

/** All PTX modules in the bytes of an addon: text, version of PTX, what it was compiled for, and its kernels. */
export function ptxModules(bytes) {
  const modules = []
  const begins = Buffer.from('.version ')
  for (let at = bytes.indexOf(begins); at >= 0; at = bytes.indexOf(begins, at + 1)) {
    let end = at
    while (end < bytes.length && isText(bytes[end])) end += 1
    let text = bytes.toString('latin1', at, end)
    const next = text.indexOf('\n.version ', 1)
    if (next > 0) text = text.slice(0, next)
    const header = /^\.version (\d+\.\d+)\n\.target (sm_\w+)\n\.address_size 64\n/.exec(text)
    if (!header) continue
    // Text of the addon's own may follow: the last function's end is the module's.
    text = text.slice(0, text.lastIndexOf('\n}') + 3)
    const kernels = [...text.matchAll(/^\s*(?:\.visible )?\.entry (\w+)/gm)].map(([, name]) => name)
    modules.push({ text, version: header[1], target: header[2], kernels })
  }
  return modules
}

function isText(byte) {
  return byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127)
}

/** How many pieces of GPU machine code the bytes carry. */
export function countMachineCode(bytes) {
  let found = 0
  const elf = Buffer.from([0x7f, 0x45, 0x4c, 0x46])
  for (let at = bytes.indexOf(elf, 1); at >= 0; at = bytes.indexOf(elf, at + 1))
    if (at + 20 <= bytes.length && bytes.readUInt16LE(at + 18) === EM_CUDA) found += 1
  for (let at = bytes.indexOf(FATBIN_MAGIC); at >= 0; at = bytes.indexOf(FATBIN_MAGIC, at + 1))
    // Version 1 and a header of 16 bytes follow; four bytes alone may stand anywhere.
    if (at + 8 <= bytes.length && bytes.readUInt16LE(at + 4) === 1 && bytes.readUInt16LE(at + 6) === 16) found += 1
  return found
}

/** The cards that this toolkit's assembler knows, from the given compute capability on: sm_80, sm_86 … */
export function knownCards(ptxas, from) {
  const names = [...output(ptxas, ['--help']).matchAll(/'sm_(\d+)'/g)].map(([, number]) => Number(number))
  return [...new Set(names)].filter((number) => number >= from).sort((a, b) => a - b)
}

/** Translates each module for each card, as a driver would, and throws where one is refused. */
export async function assemble(ptxas, modules, cards) {
  const folder = mkdtempSync(join(tmpdir(), 'embedding-engine-ptx-'))
  const jobs = modules.flatMap((module, index) => cards.map((card) => ({ module, index, card })))
  const work = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) {
      const { module, index, card } = job
      const file = join(folder, `${index}-${card}`)
      writeFileSync(`${file}.ptx`, module.text)
      try {
        // Whether it is accepted does not depend on how hard it is optimised.
        await promisify(execFile)(ptxas, [
          '--opt-level',
          '0',
          '--gpu-name',
          `sm_${card}`,
          `${file}.ptx`,
          '--output-file',
          `${file}.cubin`,
        ])
      } catch (error) {
        throw new SetupError(
          `ptxas refuses the module of ${module.kernels[0]} for sm_${card}: ${error.stderr || error.message}`,
        )
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, work))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
