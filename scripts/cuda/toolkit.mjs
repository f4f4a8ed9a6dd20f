// The CUDA toolkit that the GPU's kernels are compiled with, put together under target/cuda-toolkit/ from packages of
// PyPI and Debian: what toolkits.json names, checked by hash. No installed CUDA is used, and none is needed.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'

import { ROOT, SetupError } from '../setup.mjs'
import { output, step } from './steps.mjs'

const TOOLKITS = JSON.parse(readFileSync(new URL('toolkits.json', import.meta.url), 'utf8'))
/** What is published: its PTX is understood by drivers from 550 on, that of 13.0 by those from 580 on. */
export const DEFAULT_TOOLKIT = '12.4'
const FOLDER = join(ROOT, 'target', 'cuda-toolkit')

/** As NVIDIA's own packages have it, everything relative to where nvcc lies; Debian's names absolute paths. */
const NVCC_PROFILE = `TOP              = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH            += $(TOP)/nvvm/bin:$(_HERE_):
INCLUDES        +=  "-I$(TOP)/include" $(_SPACE_)
`

/** The folder of this toolkit, fetched the first time; afterwards no network is needed. */
export async function toolkit(version = DEFAULT_TOOLKIT) {
  const wanted = TOOLKITS[version]
  if (!wanted)
    throw new SetupError(`There is no toolkit ${version}: scripts/cuda/toolkits.json has ${Object.keys(TOOLKITS)}.`)
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new SetupError(`The CUDA build is for Linux x64; this is ${process.platform} ${process.arch}.`)
  const folder = join(FOLDER, version)
  const mark = join(folder, 'made-of.json')
  const contents = `${JSON.stringify(wanted, undefined, 2)}\n`
  if (existsSync(mark) && readFileSync(mark, 'utf8') === contents) {
    console.log(`[cuda] toolkit ${version}: up to date`)
    return folder
  }
  await step(`toolkit ${version}`, 'fetching about 110 MB of compiler and headers …', async () => {
    const work = join(FOLDER, `${version}.new`)
    rmSync(work, { recursive: true, force: true })
    const made = join(work, 'toolkit')
    mkdirSync(made, { recursive: true })
    for (const item of wanted.debian) take(fromDebian(item, work), item.take, made)
    if (wanted.pypi.length > 0) {
      const unpacked = fromPyPI(wanted.pypi, work)
      for (const item of wanted.pypi) take(unpacked, item.take, made)
    }
    finish(made, version)
    writeFileSync(join(made, 'made-of.json'), contents)
    rmSync(folder, { recursive: true, force: true })
    renameSync(made, folder)
    rmSync(work, { recursive: true, force: true })
  })
  return folder
}

/** Copies what is needed of an unpacked package; headers of several packages share one folder. */
function take(unpacked, parts, made) {
  for (const [from, to] of Object.entries(parts)) {
    const source = join(unpacked, from)
    if (!existsSync(source))
      throw new SetupError(`The toolkit's package has no ${from}. Correct scripts/cuda/toolkits.json.`)
    cpSync(source, join(made, to), { recursive: true, dereference: true })
  }
}

/** Fetches a package of Debian's by apt's own downloader, from the mirror that this machine uses, and unpacks it. */
function fromDebian({ path, sha256 }, work) {
  const file = join(work, basename(path))
  const mirror = process.env.EMBEDDING_ENGINE_DEBIAN_MIRROR ?? debianMirror()
  try {
    output('/usr/lib/apt/apt-helper', ['download-file', `${mirror}/${path}`, file, `SHA256:${sha256}`])
  } catch (error) {
    throw new SetupError(
      `${basename(path)} cannot be fetched from ${mirror}: ${error.stderr || error.message}\nIs the network there? EMBEDDING_ENGINE_DEBIAN_MIRROR names another mirror of Debian; a toolkit that needs only PyPI: npm run build:cuda -- --toolkit 13.0.`,
    )
  }
  verify(file, sha256)
  const unpacked = join(work, 'debian')
  output('dpkg-deb', ['--extract', file, unpacked])
  rmSync(file)
  return unpacked
}

/** The mirror in apt's own settings. */
function debianMirror() {
  let sites = []
  try {
    const id = /^ID=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
    if (id === 'debian')
      sites = output('apt-get', ['indextargets', '--format', '$(SITE)', 'Created-By: Packages']).split('\n')
  } catch {
    // No apt: said below.
  }
  const mirror = sites.find((site) => site && !site.includes('security'))
  if (!mirror)
    throw new SetupError(
      'Toolkit 12.4 comes from a package of Debian, and apt names no mirror of Debian here. Build in a Debian container, name a mirror in EMBEDDING_ENGINE_DEBIAN_MIRROR, or take a toolkit that needs only PyPI: npm run build:cuda -- --toolkit 13.0.',
    )
  return mirror.replace(/\/$/, '')
}

function verify(file, sha256) {
  const found = createHash('sha256').update(readFileSync(file)).digest('hex')
  if (found !== sha256)
    throw new SetupError(`${basename(file)} has sha256 ${found}, expected ${sha256}. It was not used.`)
}

/** Fetches wheels and unpacks them, both by pip, which checks the hashes. */
function fromPyPI(items, work) {
  const list = join(work, 'requirements.txt')
  const unpacked = join(work, 'pypi')
  writeFileSync(
    list,
    items.map(({ name, version, sha256 }) => `${name}==${version} --hash=sha256:${sha256}\n`).join(''),
  )
  const flags = ['--quiet', '--no-deps', '--require-hashes', '--only-binary', ':all:', '--no-compile']
  try {
    output('python3', ['-m', 'pip', 'install', ...flags, '--target', unpacked, '--requirement', list])
  } catch (error) {
    throw new SetupError(
      `pip cannot fetch the toolkit: ${error.stderr || error.message}\nPython 3 with pip, and a way to PyPI, are needed the first time.`,
    )
  }
  return unpacked
}

/** Makes of the parts what nvcc expects. */
function finish(made, version) {
  const profile = join(made, 'bin', 'nvcc.profile')
  if (!existsSync(profile)) writeFileSync(profile, NVCC_PROFILE)
  for (const folder of ['bin', 'nvvm/bin'])
    for (const name of readdirSync(join(made, folder))) {
      const path = join(made, folder, name)
      if (statSync(path).isFile()) chmodSync(path, 0o755)
    }
  const told = output(join(made, 'bin', 'nvcc'), ['--version'])
  if (!told.includes(`release ${version},`)) throw new SetupError(`nvcc is not of toolkit ${version}: ${told}`)
}
