// Everything that npm start and npm test need, from a fresh clone: the npm packages, the native addon, dist/.
// Plain Node, because at first there is nothing else. What is up to date is left alone.
import { spawn } from 'node:child_process'
import { copyFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** A failure that was explained: its message is all there is to say. */
export class SetupError extends Error {}

/** Runs a command in the root with its output shown. */
export function run(command, args, { env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
      // npm is a script there, which needs a shell; that splits paths with spaces (C:\\Program Files\\nodejs).
      shell: process.platform === 'win32' && command === 'npm',
    })
    child.on('error', (error) => reject(new SetupError(`${command} cannot be run: ${error.message}`)))
    child.on('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(new SetupError(`${command} ${args.join(' ')} failed: ${signal ?? `exit code ${code}`}.`))
    })
  })
}

/** The newest change below the given files and folders, in milliseconds. */
function newest(...paths) {
  let time = 0
  for (const path of paths.map((name) => join(ROOT, name))) {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (!stat) continue
    if (!stat.isDirectory()) time = Math.max(time, stat.mtimeMs)
    else for (const entry of readdirSync(path)) time = Math.max(time, newest(join(path, entry).slice(ROOT.length)))
  }
  return time
}

/** Whether an output is there and no source is newer. */
function upToDate(output, ...sources) {
  const made = statSync(output, { throwIfNoEntry: false })?.mtimeMs
  return made !== undefined && made >= newest(...sources)
}

/** One step: says what it does and how long it took, or that there is nothing to do. */
async function step(name, isDone, why, action) {
  if (isDone()) {
    console.log(`[setup] ${name}: up to date`)
    return
  }
  console.log(`[setup] ${name}: ${why}`)
  const begin = performance.now()
  await action()
  console.log(`[setup] ${name}: done in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  throw new SetupError(`Node ${process.versions.node} is too old: 20.19 or newer is needed.`)
}

/** The file of the addon for this machine. The name is the loader's, which must be compiled before. */
async function addonFile() {
  const { currentKey } = await import('../dist/lib/native/platform.js')
  return join(ROOT, `embedding-engine.${currentKey()}.node`)
}

/**
 * Builds the addon by cargo itself: `napi build` always names a target, which would put everything into a folder
 * of its own and compile all crates once for the addon and once more for the tests.
 */
async function buildAddon(file) {
  const library = await cargoBuild(['--release'])
  replaceFile(library, file)
}

/** Copies a file into place. Renamed there: a running process may have the old one mapped. */
export function replaceFile(source, file) {
  copyFileSync(source, `${file}.new`)
  renameSync(`${file}.new`, file)
}

/** Builds the addon's crate by cargo with its progress shown, and returns the library that it made. */
export function cargoBuild(options, { command = 'build', env = {} } = {}) {
  const args = [
    command,
    '--locked',
    '-p',
    'embedding-engine-node',
    '--message-format',
    'json-render-diagnostics',
    ...options,
  ]
  return new Promise((resolve, reject) => {
    const child = spawn('cargo', args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.on('error', () =>
      reject(
        new SetupError(
          'There is no Rust toolchain (cargo). Install Rust 1.92 or newer, see https://rustup.rs, and try again.',
        ),
      ),
    )
    child.on('close', (code, signal) => {
      if (code !== 0) return reject(new SetupError(`cargo ${args.join(' ')} failed: ${signal ?? `exit code ${code}`}.`))
      const library = output
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line))
        .find(({ reason, target }) => reason === 'compiler-artifact' && target.kind.includes('cdylib'))?.filenames[0]
      if (library) resolve(library)
      else reject(new SetupError('cargo built no addon. This is a bug in scripts/setup.mjs.'))
    })
  })
}

async function compile() {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
  await run(process.execPath, [
    join(ROOT, 'node_modules/typescript/bin/tsc'),
    '-p',
    'tsconfig.build.json',
    '--noEmitOnError',
  ])
}

/** Brings this checkout to where it can be imported, run and tested. */
export async function setup() {
  checkNode()
  await step(
    'npm packages',
    () => upToDate(join(ROOT, 'node_modules/.package-lock.json'), 'package-lock.json'),
    'installing what package-lock.json names (about a minute) …',
    // onnxruntime-node's install script would download a CUDA build that nothing here uses.
    () => run('npm', ['ci', '--no-audit', '--no-fund'], { env: { ONNXRUNTIME_NODE_INSTALL: 'skip' } }),
  )
  await step(
    'TypeScript',
    () => upToDate(join(ROOT, 'dist/index.js'), 'index.ts', 'train.ts', 'lib', 'tsconfig.json', 'tsconfig.build.json'),
    'compiling to dist/ …',
    compile,
  )
  const given = process.env.EMBEDDING_ENGINE_ADDON
  if (given) {
    console.log(`[setup] native addon: ${given}, as EMBEDDING_ENGINE_ADDON says`)
    return
  }
  const addon = await addonFile()
  await step(
    'native addon',
    () => upToDate(addon, 'crates', 'Cargo.toml', 'Cargo.lock'),
    'compiling the Rust core (the first time about 180 crates, some 6 minutes on two cores) …',
    () => buildAddon(addon),
  )
}

/** Runs a script's work; a failure that was explained is told without a stack. */
export async function main(work) {
  try {
    await work()
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error)
    process.exitCode = 1
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(setup)
