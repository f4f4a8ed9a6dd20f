// node scripts/publish.mjs FOLDER [--tag v1.2.3] [--dry-run]: publishes the tarballs below FOLDER, as the jobs of
// .github/workflows/release.yml packed them: the platform packages first, so that nobody can install a main package
// whose platforms are not there yet. What is on the registry already is left alone, so that a broken run can be repeated.
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { ROOT, SetupError, main, run } from './setup.mjs'

/** Every package below a folder by name; the main one comes from each platform, and any of them will do. */
function packages(folder) {
  const found = new Map()
  for (const entry of readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.tgz'))
    .sort()) {
    const tarball = join(folder, entry)
    const manifest = JSON.parse(execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }))
    found.set(manifest.name, { tarball, manifest })
  }
  return found
}

function isPublished({ name, version }) {
  try {
    return (
      execFileSync('npm', ['view', `${name}@${version}`, 'version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim() === version
    )
  } catch {
    return false // E404
  }
}

await main(async () => {
  const { values, positionals } = parseArgs({
    options: { tag: { type: 'string' }, 'dry-run': { type: 'boolean' } },
    allowPositionals: true,
  })
  const { name, version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  if (positionals.length !== 1) throw new SetupError('Name the folder with the tarballs.')
  if (values.tag !== undefined && values.tag !== `v${version}`)
    throw new SetupError(`The tag is ${values.tag}, the manifest says ${version}.`)
  const found = packages(resolve(positionals[0]))
  const own = found.get(name)
  if (!own) throw new SetupError(`There is no tarball of ${name}.`)
  const platforms = Object.entries(own.manifest.optionalDependencies)
  const missing = platforms.filter(([platform, wanted]) => found.get(platform)?.manifest.version !== wanted)
  if (missing.length > 0 || own.manifest.version !== version)
    throw new SetupError(
      `Not packed in version ${version}: ${missing.map(([platform]) => platform).join(', ') || name}.`,
    )

  for (const { tarball, manifest } of [...platforms.map(([platform]) => found.get(platform)), own]) {
    if (isPublished(manifest)) {
      console.log(`[publish] ${manifest.name}@${manifest.version} is there already`)
      continue
    }
    console.log(`[publish] ${manifest.name}@${manifest.version}`)
    // A dry run has nobody to vouch for it.
    await run('npm', ['publish', tarball, '--access', 'public', values['dry-run'] ? '--dry-run' : '--provenance'])
  }
})
