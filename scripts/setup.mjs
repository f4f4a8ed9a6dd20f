// Everything that npm start and npm test need, from a fresh clone: the npm packages, the native addon, dist/.
// Plain Node, because at first there is nothing else. What is up to date is left alone.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** A failure that was explained: its message is all there is to say. */
export class SetupError extends Error {}

/** Runs a command in the root with its output shown; its words where it is not found come from `missing`. */
export function run(command, args, { env = {}, missing, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: quiet ? ['ignore', 'ignore', 'pipe'] : ['ignore', 'inherit', 'inherit'],
      shell: process.platform === 'win32',
    })
    let errors = ''
    child.stderr?.on('data', (chunk) => (errors += chunk))
    child.on('error', (error) => reject(new SetupError(missing ?? `${command} cannot be run: ${error.message}`)))
    child.on('close', (code) => {
      if (code === 0) resolve()
      else
        reject(new SetupError(`${command} ${args.join(' ')} failed with exit code ${code}.${errors && `\n${errors}`}`))
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

/** The file of the addon that napi builds for this machine, if there is one. */
function addonFile() {
  const name = readdirSync(ROOT).find((file) => /^embedding-engine\.[\w-]+\.node$/.test(file))
  return join(ROOT, name ?? 'embedding-engine.node')
}

async function buildAddon() {
  await run('cargo', ['--version'], {
    quiet: true,
    missing: 'There is no Rust toolchain (cargo). Install Rust 1.92 or newer, see https://rustup.rs, and try again.',
  })
  await run(process.execPath, [
    join(ROOT, 'node_modules/@napi-rs/cli/dist/cli.js'),
    ...'build --platform --release --manifest-path crates/node/Cargo.toml -o . --no-js --dts native.d.ts --no-const-enum'.split(
      ' ',
    ),
  ])
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
  const given = process.env.EMBEDDING_ENGINE_ADDON
  await step(
    'native addon',
    () => Boolean(given) || upToDate(addonFile(), 'crates', 'Cargo.toml', 'Cargo.lock'),
    'compiling the Rust core (the first time some 430 crates, about 6 minutes on two cores) …',
    buildAddon,
  )
  if (given) console.log(`[setup] native addon: ${given}, as EMBEDDING_ENGINE_ADDON says`)
  await step(
    'TypeScript',
    () => upToDate(join(ROOT, 'dist/index.js'), 'index.ts', 'lib', 'tsconfig.json', 'tsconfig.build.json'),
    'compiling to dist/ …',
    compile,
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--force')) {
    for (const path of [addonFile(), join(ROOT, 'dist')]) if (existsSync(path)) rmSync(path, { recursive: true })
  }
  await main(setup)
}
