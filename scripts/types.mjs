// Writes index.d.ts: the types of the whole public API in one flat file, committed, so that a change of the API is
// a visible diff. With --check it changes nothing and fails if the file is not up to date.
import { readFile, writeFile } from 'node:fs/promises'
import { rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'

const FILE = new URL('../index.d.ts', import.meta.url)

const bundle = await rollup({ input: 'index.ts', plugins: [dts({ tsconfig: 'tsconfig.json' })], external: [/^node:/] })
const { output } = await bundle.generate({ format: 'es' })
await bundle.close()
const types = `// Generated from index.ts by npm run types. Do not edit.\n${output[0].code}`

if (process.argv.includes('--check')) {
  const committed = await readFile(FILE, 'utf8').catch(() => '')
  if (committed !== types) {
    console.error('index.d.ts is not up to date: run npm run types and commit it.')
    process.exitCode = 1
  }
} else {
  await writeFile(FILE, types)
}
