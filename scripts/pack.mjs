// npm run pack:all: the tarballs that are published, in target/pack/: the main package, and the platform package of
// this machine with the stripped addon and the ONNX Runtime library in it. Prints their sizes and the C library
// that they need; fails where that is too new.
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { FEATURES, distAddon } from './dist.mjs'
import { ROOT, SetupError, main, run, setup } from './setup.mjs'

/** Where the tarballs are made. */
export const OUT = join(ROOT, 'target', 'pack')
/** Debian 12, RHEL 9 and Ubuntu 22.04 have at least this; published builds aim at 2.28. */
const NEWEST_GLIBC = '2.34'
/** npm refuses tarballs of about 230 MB. */
const LARGEST_MB = 180
/** What users need of the manifest; the rest is for this checkout. */
const PUBLISHED = [
  'name',
  'version',
  'description',
  'keywords',
  'license',
  'repository',
  'type',
  'engines',
  'exports',
  'types',
  'bin',
  'files',
  'dependencies',
]

const require = createRequire(import.meta.url)
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`)

/** An empty folder to put a package together in. */
function stage(name) {
  const folder = join(OUT, name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  return folder
}

/** The main package. The platform packages become optional dependencies here: a checkout must not ask the registry for them. */
function stageMain(manifest) {
  const folder = stage(manifest.name)
  const published = Object.fromEntries(PUBLISHED.map((key) => [key, manifest[key]]))
  const platforms = readdirSync(join(ROOT, 'npm')).map((key) => [`${manifest.name}-${key}`, manifest.version])
  writeJson(join(folder, 'package.json'), { ...published, optionalDependencies: Object.fromEntries(platforms) })
  for (const path of [...manifest.files, 'README.md', 'LICENSE'])
    cpSync(join(ROOT, path), join(folder, path), { recursive: true })
  return folder
}

/** The platform package of this machine. */
async function stagePlatform(manifest) {
  const { currentPlatform } = await import('../dist/lib/native/platform.js')
  const platform = currentPlatform()
  if (!platform) throw new SetupError('There is no platform package for this machine.')
  const folder = stage(`${manifest.name}-${platform.key}`)
  const own = readJson(join(ROOT, 'npm', platform.key, 'package.json'))
  if (own.version !== manifest.version)
    throw new SetupError(`npm/${platform.key} has version ${own.version}, package.json ${manifest.version}.`)
  // The registry vouches only for packages that name the repository which they come from.
  const repository = { ...manifest.repository, directory: `npm/${platform.key}` }
  writeJson(join(folder, 'package.json'), { ...own, repository })
  cpSync(join(ROOT, 'npm', platform.key, 'README.md'), join(folder, 'README.md'))
  cpSync(join(ROOT, 'LICENSE'), join(folder, 'LICENSE'))

  const addon = join(folder, `embedding-engine.${platform.key}.node`)
  const built = process.env.EMBEDDING_ENGINE_ADDON ?? join(ROOT, `embedding-engine.${platform.key}.node`)
  cpSync(built, addon)
  strip(addon)
  const libraries = [addon]

  let onnxRuntime
  if (platform.onnxRuntime) {
    const source = dirname(require.resolve('onnxruntime-node/package.json'))
    onnxRuntime = readJson(join(source, 'package.json')).version
    const library = join(folder, platform.onnxRuntime)
    cpSync(join(source, 'bin/napi-v6', process.platform, process.arch, platform.onnxRuntime), library)
    libraries.push(library)
  }
  const features = resolve(built) === distAddon(platform.key) ? (FEATURES[platform.key] ?? []) : []
  writeFileSync(join(folder, 'THIRD-PARTY.md'), thirdParty(features, onnxRuntime))
  return { folder, libraries }
}

/** Takes out of a library what only debuggers read. */
export function strip(library) {
  if (process.platform === 'linux') execFileSync('strip', ['--strip-unneeded', library])
  if (process.platform === 'darwin') execFileSync('strip', ['-x', library])
}

/** What is inside the addon and beside it, with licences. */
function thirdParty(features, onnxRuntime) {
  const args = ['metadata', '--format-version', '1', '--locked', '--filter-platform', hostTriple()]
  if (features.length > 0)
    args.push('--features', features.map((feature) => `embedding-engine-node/${feature}`).join(','))
  const metadata = JSON.parse(
    execFileSync('cargo', args, { cwd: ROOT, maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  const linked = linkedPackages(metadata)
  const rows = metadata.packages
    .filter(({ id, source }) => source !== null && linked.has(id))
    .map(
      ({ name, version, license, license_file: file }) =>
        `| ${name} | ${version} | ${license ?? file ?? 'see its sources'} |`,
    )
    .sort()
  const cuda = features.includes('cuda')
    ? "\n## CUDA\n\nThe GPU's kernels are those of candle-kernels, compiled to PTX by NVIDIA's compiler. What they use of its libdevice and headers is in them, as the CUDA Toolkit's licence (EULA, Attachment A) allows. No library of NVIDIA's is inside.\n"
    : ''
  const crates = `# What is inside\n\nThe addon is MIT, as in LICENSE. These crates are linked into it:\n\n| crate | version | licence |\n|---|---|---|\n${rows.join('\n')}\n${cuda}`
  if (!onnxRuntime) return crates
  const license = readFileSync(fileURLToPath(new URL('onnxruntime-license.txt', import.meta.url)), 'utf8')
  return `${crates}\n## ONNX Runtime ${onnxRuntime}\n\nThe library beside the addon, unchanged from the npm package onnxruntime-node. Notices of what it contains itself stand in ThirdPartyNotices.txt of its repository, microsoft/onnxruntime.\n\n${license}`
}

function hostTriple() {
  return /^host: (.+)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1]
}

/** Ids of all that the addon's crate depends on, tests and build scripts left out. */
function linkedPackages({ packages, resolve }) {
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const found = new Set()
  const visit = (id) => {
    if (found.has(id)) return
    found.add(id)
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) if (kinds.some(({ kind }) => kind === null)) visit(pkg)
  }
  visit(packages.find(({ name }) => name === 'embedding-engine-node').id)
  return found
}

/** The newest version of glibc that a library asks for; throws where it is newer than it may be. */
export function checkGlibc(library, newest = NEWEST_GLIBC) {
  const found = newestGlibc(library)
  if (isNewer(found, newest)) throw new SetupError(`${library} needs glibc ${found}; at most ${newest} is allowed.`)
  return found
}

function newestGlibc(library) {
  const symbols = execFileSync('objdump', ['-T', library], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const versions = [...symbols.matchAll(/GLIBC_(\d+\.\d+)/g)].map(([, version]) => version)
  return versions.reduce((newest, version) => (isNewer(version, newest) ? version : newest), '0.0')
}

function isNewer(a, b) {
  const [majorA, minorA] = a.split('.').map(Number)
  const [majorB, minorB] = b.split('.').map(Number)
  return majorA > majorB || (majorA === majorB && minorA > minorB)
}

const megabytes = (path) => statSync(path).size / 1e6

async function pack(folder) {
  const tarball = `${folder}-${readJson(join(folder, 'package.json')).version}.tgz`
  rmSync(tarball, { force: true })
  await run('npm', ['pack', folder, '--pack-destination', OUT, '--ignore-scripts', '--loglevel', 'error'])
  if (!existsSync(tarball)) throw new SetupError(`npm pack did not make ${tarball}.`)
  const size = megabytes(tarball)
  console.log(`[pack] ${tarball.slice(OUT.length + 1)}: ${size.toFixed(2)} MB`)
  if (size > LARGEST_MB)
    throw new SetupError(`${tarball} is larger than ${LARGEST_MB} MB, which the registry may refuse.`)
  return tarball
}

/** Makes both tarballs, and returns their paths. */
export async function packAll() {
  await setup()
  const manifest = readJson(join(ROOT, 'package.json'))
  mkdirSync(OUT, { recursive: true })
  const { folder, libraries } = await stagePlatform(manifest)
  for (const library of libraries) {
    const glibc = process.platform === 'linux' ? checkGlibc(library) : undefined
    console.log(
      `[pack] ${library.slice(folder.length + 1)}: ${megabytes(library).toFixed(1)} MB${glibc ? `, needs glibc ${glibc}` : ''}`,
    )
  }
  return [await pack(stageMain(manifest)), await pack(folder)]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(packAll)
