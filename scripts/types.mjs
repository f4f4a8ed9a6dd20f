// npm run types: writes index.d.ts, the types of the whole public API in one flat file, committed, so that a change
// of the API is a visible diff. With --check it changes nothing and fails if the file is not up to date.
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'

import { ROOT, SetupError, main, run } from './setup.mjs'

const FILE = join(ROOT, 'index.d.ts')
// The reference is for users whose own "lib" has no Symbol.asyncDispose.
const HEADER = '// Generated from index.ts by npm run types. Do not edit.\n/// <reference lib="esnext.disposable" />\n'

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

await main(async () => {
  const flags = ['-p', 'tsconfig.build.json', '--declaration', '--emitDeclarationOnly', '--outDir', folder]
  await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...flags])
  await renameImports()
  // Bundled from there and not from index.ts, beside which the bundler would read the old index.d.ts.
  const bundle = await rollup({ input: join(folder, 'index.d.ts'), plugins: [dts()], external: [/^node:/] })
  const { output } = await bundle.generate({ format: 'es' })
  await bundle.close()
  const types = HEADER + output[0].code
  if (!process.argv.includes('--check')) return writeFile(FILE, types)
  const committed = await readFile(FILE, 'utf8').catch(() => '')
  if (committed !== types) throw new SetupError('index.d.ts is not up to date: run npm run types and commit it.')
})
await rm(folder, { recursive: true, force: true })
