// node scripts/gather-pairs.mjs [--out FOLDER]: the pairs of documentation and code that the bundled model is trained
// and tested on. Fetches the packages of crates/bundled/packages.json by npm, pip and cargo, adds what builds have
// brought anyway (the crates of Cargo.lock, node_modules, Python's standard library), drops those whose licence is not
// allowed by name, and has `embedding-engine-bundled gather` make the pairs. Plain Node: see CONTRIBUTING.md.
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs, promisify } from 'node:util'

import { isAllowed, ofPythonMetadata } from './licences.mjs'
import { ROOT, SetupError, main, run } from './setup.mjs'

const execute = promisify(execFile)
const LIST = join(ROOT, 'crates/bundled/packages.json')
const CARD = join(ROOT, 'models/bundled/DATA.md')
/** Packages fetched at the same time: registries are shared. */
const AT_ONCE = 3

const { values } = parseArgs({ options: { out: { type: 'string', default: join(ROOT, 'target/pairs') } } })
const OUT = resolve(values.out)

/** Runs a command and gives back what it prints. */
async function output(command, args, cwd = OUT) {
  const { stdout } = await execute(command, args, { cwd, maxBuffer: 1 << 30 })
  return stdout
}

/** The folder of a package, filled by `fill` once. What was left half done is done again. */
async function folderOf(registry, name, fill) {
  const folder = join(OUT, 'src', registry, name.replaceAll('/', '__'))
  if (existsSync(folder)) return folder
  const partial = `${folder}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  await fill(partial)
  renameSync(partial, folder)
  return folder
}

/** `name@version`, where the name may begin with `@`. */
function parsed(entry) {
  const at = entry.lastIndexOf('@')
  return at > 0 ? [entry.slice(0, at), entry.slice(at + 1)] : [entry, undefined]
}

async function fromNpm(entry) {
  const [name] = parsed(entry)
  const folder = await folderOf('npm', name, async (partial) => {
    await output('npm', ['pack', entry, '--silent', '--pack-destination', partial])
    const tarball = readdirSync(partial).find((file) => file.endsWith('.tgz'))
    await output('tar', ['-xzf', tarball, '--strip-components=1'], partial)
    rmSync(join(partial, tarball))
  })
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return { name, version, license: typeof license === 'string' ? license : (license?.type ?? ''), roots: [folder] }
}

async function fromPypi(entry) {
  const [name, version] = parsed(entry)
  const folder = await folderOf('pypi', name, async (partial) => {
    const which = version ? `${name}==${version}` : name
    // Wheels: reading the metadata of a source package would run its set-up. Of one system, so that the packages do
    // not depend on this one; of this system because its wheels bring no CUDA.
    const system = ['--platform', 'macosx_14_0_arm64', '--python-version', '3.13']
    const flags = [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--no-deps',
      '--only-binary',
      ':all:',
      ...system,
      '--dest',
      partial,
    ]
    await output('python3', [...flags, which])
    const wheel = readdirSync(partial).find((file) => file.endsWith('.whl'))
    await output('python3', ['-m', 'zipfile', '-e', wheel, '.'], partial)
    rmSync(join(partial, wheel))
  })
  const info = readdirSync(folder).find((file) => file.endsWith('.dist-info'))
  return { name, ...ofPythonMetadata(readFileSync(join(folder, info, 'METADATA'), 'utf8')), roots: [folder] }
}

/** A crate with those that live in the same repository, as large projects publish many, and those that it needs. */
async function fromCrates(entry) {
  const [name, version] = parsed(entry)
  const manifest = join(OUT, 'manifests', name, 'Cargo.toml')
  if (!existsSync(manifest)) {
    mkdirSync(join(dirname(manifest), 'src'), { recursive: true })
    writeFileSync(join(dirname(manifest), 'src/lib.rs'), '')
    const requirement = version ? `=${version}` : '*'
    writeFileSync(
      manifest,
      `[package]\nname = "fetch"\nedition = "2024"\n[dependencies]\n"${name}" = "${requirement}"\n[workspace]\n`,
    )
  }
  const all = await crates(manifest)
  const own = all.find((found) => found.name === name)
  const isSibling = (found) => found === own || (found.repository !== '' && found.repository === own.repository)
  const siblings = all.filter((found) => isSibling(found) && (found === own || isAllowed(found.license)))
  const folder = await folderOf('crates', name, (partial) => {
    for (const { roots } of siblings) cpSync(roots[0], join(partial, basename(roots[0])), { recursive: true })
  })
  const licenses = [...new Set(siblings.map((found) => found.license))].toSorted()
  const license = licenses.length > 1 ? licenses.map((of) => `(${of})`).join(' AND ') : licenses[0]
  return { ...own, license, roots: [folder], needs: all.filter((found) => !isSibling(found)) }
}

/** The crates that a manifest needs, as cargo has them in its cache. */
async function crates(manifest, ...flags) {
  const platform = ['--filter-platform', 'x86_64-unknown-linux-gnu']
  const all = ['metadata', '--format-version', '1', ...platform, ...flags, '--manifest-path', manifest]
  const { packages } = JSON.parse(await output('cargo', all))
  return packages
    .filter(({ source }) => source !== null)
    .map(({ name, version, license, repository, manifest_path: path }) => ({
      registry: 'crates',
      name,
      version,
      license: license ?? '',
      repository: (repository ?? '').replace(/(\.git)?\/?(\/tree\/.*)?$/, '').toLowerCase(),
      roots: [dirname(path)],
    }))
}

/** What builds have brought anyway. */
async function present() {
  const python = JSON.parse(
    await output('python3', [
      '-c',
      'import sys,sysconfig,json;print(json.dumps([sysconfig.get_paths()["stdlib"],sys.version.split()[0]]))',
    ]),
  )
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  const modules = Object.entries(lock.packages)
    .filter(([path]) => path !== '' && existsSync(join(ROOT, path, 'package.json')))
    .map(([path, { version }]) => {
      const { name, license } = JSON.parse(readFileSync(join(ROOT, path, 'package.json'), 'utf8'))
      return {
        registry: 'npm',
        name,
        version,
        license: typeof license === 'string' ? license : '',
        roots: [join(ROOT, path)],
      }
    })
  return [
    ...(await crates(join(ROOT, 'Cargo.toml'), '--locked')),
    ...modules,
    { registry: 'python', name: 'python-standard-library', version: python[1], license: 'PSF-2.0', roots: [python[0]] },
  ].map((source) => ({ ...source, split: 'train' }))
}

/** Does the work of all items, a few at a time, and keeps their order. */
async function each(items, work) {
  const results = []
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const index = next
      next += 1
      results[index] = await work(items[index])
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}

function card(packages, dropped) {
  const count = (split) => packages.filter((one) => one.split === split).reduce((sum, one) => sum + one.pairs, 0)
  const row = (one) => `| ${one.registry} | ${one.name} | ${one.version} | ${one.license} | ${one.pairs} |`
  const table = (split) =>
    [
      '| from | package | version | licence | pairs |',
      '|---|---|---|---|---|',
      ...packages.filter((one) => one.split === split && one.pairs > 0).map(row),
    ].join('\n')
  const languages = new Map()
  for (const one of packages)
    for (const [language, pairs] of Object.entries(one.languages))
      languages.set(language, (languages.get(language) ?? 0) + (one.split === 'train' ? pairs : 0))
  const byLanguage = [...languages]
    .filter(([, pairs]) => pairs > 0)
    .toSorted((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
  return `# What the bundled model was trained on

Written by \`node scripts/gather-pairs.mjs\` from the packages that \`crates/bundled/packages.json\` names and those that builds of this repository bring anyway. The pairs are not kept here: the script makes them again.

A pair is a **query**, the first paragraph of what the documentation of a function, method or class says (3 to 80 words, without tags, links and signs), and its **code** without that documentation. Left out are tests, generated, minified and vendored files, units of almost no code, licences, to-dos, directives, and whatever is said of more than three names. No query and no code occurs twice, and none of the held-out packages' occurs in the training pairs. A package gives 5,000 pairs at most, chosen by hash, evenly over its files. Packages are taken only under a licence that \`scripts/licences.mjs\` allows by name; crates count with those of the same repository, and what they depend on is taken as well.

| | packages | pairs |
|---|---|---|
${['train', 'dev', 'test'].map((split) => `| ${split} | ${packages.filter((one) => one.split === split && one.pairs > 0).length} | ${count(split)} |`).join('\n')}

Training pairs by language: ${byLanguage.map(([language, pairs]) => `${language} ${pairs}`).join(', ')}.

## Test: never seen in training
${table('test')}

## Dev: what choices were made by
${table('dev')}

## Training
${table('train')}

## Dropped for their licence
${dropped.map((one) => `- ${one.name} ${one.version} (${one.license || 'none named'})`).join('\n') || 'None.'}
`
}

await main(async () => {
  mkdirSync(OUT, { recursive: true })
  const list = JSON.parse(readFileSync(LIST, 'utf8'))
  const fetch = { npm: fromNpm, pypi: fromPypi, crates: fromCrates }
  const wanted = Object.entries(list).flatMap(([registry, splits]) =>
    Object.entries(splits).flatMap(([split, entries]) => entries.map((entry) => ({ registry, split, entry }))),
  )
  const named = await each(wanted, async ({ registry, split, entry }) => {
    try {
      const source = { registry, split, ...(await fetch[registry](entry)) }
      console.log(`[pairs] ${registry} ${source.name} ${source.version}: ${source.license}`)
      return source
    } catch (error) {
      throw new SetupError(`${entry} of ${registry} cannot be fetched: ${error.message}`)
    }
  })
  // What is named is not taken a second time from what builds brought, nor is what lives with something held out.
  const key = ({ registry, name }) => `${registry} ${name}`
  const taken = new Set(named.map(key))
  const apart = new Set(
    named.filter(({ split, repository }) => split !== 'train' && repository).map((one) => one.repository),
  )
  const own = new Set(named.flatMap(({ repository }) => repository || []))
  const needed = named.flatMap(({ needs = [] }) => needs.map((source) => ({ ...source, split: 'train' })))
  const unique = new Map()
  for (const source of [...(await present()), ...needed]) {
    const { repository } = source
    if (taken.has(key(source)) || apart.has(repository) || own.has(repository)) continue
    unique.set(`${key(source)} ${source.version}`, source)
  }
  const all = [...named.map(({ needs: _, ...source }) => source), ...unique.values()]
  const dropped = all.filter(({ license }) => !isAllowed(license))
  for (const { name, license } of dropped) console.log(`[pairs] dropped: ${name} (${license || 'no licence named'})`)
  const sources = all.filter(({ license }) => isAllowed(license))
  writeFileSync(join(OUT, 'sources.json'), JSON.stringify(sources, null, 1))
  const gather = ['run', '--release', '--quiet', '-p', 'embedding-engine-bundled', '--', 'gather']
  await run('cargo', [...gather, '--sources', join(OUT, 'sources.json'), '--out', OUT])
  const packages = JSON.parse(readFileSync(join(OUT, 'packages.json'), 'utf8'))
  mkdirSync(dirname(CARD), { recursive: true })
  writeFileSync(CARD, card(packages, dropped))
  console.log(`[pairs] ${CARD}`)
})
