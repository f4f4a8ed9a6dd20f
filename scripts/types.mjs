// npm run types: writes index.d.ts and those of the subpaths, the types of each entry in one flat file, committed, so
// that a change of the API is a visible diff. With --check it changes nothing and fails if a file is not up to date.
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'

import { ENTRIES } from './entries.mjs'
import { ROOT, SetupError, main, run } from './setup.mjs'

// The reference is for users whose own "lib" has no Symbol.asyncDispose.
const header = (source) =>
  `// Generated from ${source} by npm run types. Do not edit.\n/// <reference lib="esnext.disposable" />\n`
/** Sends imports of modules whose types the main entry exports, all of them, there. */
const sharedTypes = {
  name: 'shared-types',
  resolveId: (id) => (/\/(options|progress|results)\.js$/.test(id) ? { id: 'embedding-engine', external: true } : null),
}

/** Where the compiler puts one declaration file for each source: inside the root, so that the types of Node are found. */
await mkdir(join(ROOT, 'target'), { recursive: true })
const folder = await mkdtemp(join(ROOT, 'target', 'types-'))

/** The compiler leaves the .ts of our imports as it is in declarations, where only .js finds the .d.ts. */
async function renameImports() {
  for (const name of await readdir(folder, { recursive: true })) {
    if (!name.endsWith('.d.ts')) continue
    const text = await readFile(join(folder, name), 'utf8')
    await writeFile(join(folder, name), text.replaceAll(/(from '\.[^']*)\.ts'/g, "$1.js'"))
  }
}

/** The types of one entry, bundled. */
async function typesOf({ source, types, shares }) {
  // Bundled from there and not from the root, where the bundler would read the old types.
  const bundle = await rollup({
    input: join(folder, types),
    plugins: [...(shares ? [sharedTypes] : []), dts()],
    external: [/^node:/],
  })
  const { output } = await bundle.generate({ format: 'es' })
  await bundle.close()
  return header(source) + output[0].code
}

await main(async () => {
  const flags = ['-p', 'tsconfig.build.json', '--declaration', '--emitDeclarationOnly', '--outDir', folder]
  await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...flags])
  await renameImports()
  for (const entry of ENTRIES) {
    const types = await typesOf(entry)
    const file = join(ROOT, entry.types)
    if (!process.argv.includes('--check')) {
      await writeFile(file, types)
      continue
    }
    const committed = await readFile(file, 'utf8').catch(() => '')
    if (committed !== types) throw new SetupError(`${entry.types} is not up to date: run npm run types and commit it.`)
  }
})
await rm(folder, { recursive: true, force: true })
