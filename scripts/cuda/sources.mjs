// Two crates of Candle's as the CUDA build needs them: copies of what cargo fetched, under target/cuda/, changed in the
// few places that no feature or setting reaches. Cargo takes them as path overrides, which leave Cargo.lock alone.
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { ROOT, SetupError } from '../setup.mjs'
import { output } from './steps.mjs'

/** What is changed: in which file, from where to where (both included), and what stands there afterwards. */
const CHANGES = {
  // Candle asks for `dynamic-linking`, with which an addon does not even load on a machine without CUDA. The other way,
  // looking the libraries up when a GPU is asked for, is one setting of the same crate; it may not stand beside the first.
  cudarc: {
    file: 'build.rs',
    from: '    #[cfg(feature = "dynamic-linking")]\n    dynamic_linking(major, minor);\n',
    put: '    println!("cargo:rustc-cfg=feature=\\"dynamic-loading\\"");\n',
  },
  // Kernels for quantised and mixture-of-experts models: nothing here reaches them, they come as machine code for one
  // generation of cards, 40 MB, after 6 minutes of nvcc, and they would link the CUDA runtime. Without them everything
  // in the addon is PTX, and whoever reaches for one gets a symbol that is missing, which the checks find.
  'candle-kernels': {
    file: 'build.rs',
    from: '    let mut moe_sources = vec![',
    to: '        println!("cargo:rustc-link-lib=stdc++");\n    }\n',
    put: '',
  },
}

/** The folders of the changed copies, for cargo's `paths`. */
export function changedSources() {
  const packages = JSON.parse(
    output('cargo', ['metadata', '--format-version', '1', '--locked', '--all-features'], { cwd: ROOT }),
  ).packages
  return Object.entries(CHANGES).map(([name, change]) => {
    const found = packages.filter((item) => item.name === name)
    if (found.length !== 1) throw new SetupError(`Cargo.lock has ${found.length} versions of ${name}, expected one.`)
    return changedCopy(found[0], change)
  })
}

function changedCopy({ name, version, manifest_path: manifest }, { file, from, to = from, put }) {
  const folder = join(ROOT, 'target', 'cuda', 'sources', `${name}-${version}`)
  const original = readFileSync(join(dirname(manifest), file), 'utf8')
  const begin = original.indexOf(from)
  const end = original.indexOf(to, begin)
  if (begin < 0 || end < 0 || original.includes(from, begin + 1))
    throw new SetupError(
      `${name} ${version} is not what scripts/cuda/sources.mjs knows: look at ${file}, and correct CHANGES.`,
    )
  const changed = original.slice(0, begin) + put + original.slice(end + to.length)
  // Left alone where it is right, so that cargo need not build it again.
  if (existsSync(join(folder, file)) && readFileSync(join(folder, file), 'utf8') === changed) return folder
  rmSync(folder, { recursive: true, force: true })
  cpSync(dirname(manifest), folder, { recursive: true })
  writeFileSync(join(folder, file), changed)
  return folder
}
