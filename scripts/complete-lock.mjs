// npm run lock: resolves package-lock.json anew after a change of dependencies, and completes it. npm leaves out of
// the lock file those platform packages (@scope/name-win32-x64-msvc …) that it cannot see where it runs, and npm ci
// then refuses the file (npm/cli#4828). They are added here by name and version, with the platform that their
// names tell, so that npm ci works on every platform.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { ROOT, SetupError, main, run } from './setup.mjs'

const FILE = join(ROOT, 'package-lock.json')
const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'openbsd', 'openharmony', 'win32']

/** What the manifest of a platform package says about where it can be used. */
function platformOf(name) {
  if (name.endsWith('-wasm32-wasi')) return { cpu: ['wasm32'] }
  const match = new RegExp(`-(${SYSTEMS.join('|')})-([a-z0-9]+)(?:-([a-z]+))?$`).exec(name)
  if (!match) throw new SetupError(`${name} is missing in the lock file, and its name does not tell a platform.`)
  const [, os, cpu, abi = ''] = match
  const libc = os !== 'linux' ? undefined : [abi.startsWith('musl') ? 'musl' : 'glibc']
  return { cpu: [cpu], ...(libc && { libc }), os: [os] }
}

await main(async () => {
  await run('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund', '--loglevel', 'error'])
  const lock = JSON.parse(readFileSync(FILE, 'utf8'))
  let added = 0
  for (const { dev, optionalDependencies = {} } of Object.values(lock.packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const place = `node_modules/${name}`
      if (lock.packages[place]) continue
      const { cpu, libc, os } = platformOf(name)
      lock.packages[place] = {
        version,
        cpu,
        ...(dev && { dev }),
        ...(libc && { libc }),
        optional: true,
        ...(os && { os }),
      }
      added++
    }
  }
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
  writeFileSync(FILE, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, undefined, 2)}\n`)
  console.log(`package-lock.json: ${sorted.length} packages, ${added} of other platforms added`)
})
