// The addon loader, in processes of its own: importing never fails, and a failure tells all that was tried.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { FAKE_ADDON } from './helpers/fake-core.ts'
import { runModule } from './helpers/process.ts'

interface Told {
  code: string
  message: string
  platform: string
  attempts: { path: string; origin: string; code: string; message: string; remedy: string }[]
}

/** What a first call says, with the addon that the environment names, and some code run before the import. */
async function firstCall(addon: string | undefined, before = ''): Promise<Told> {
  const { stdout, stderr, code } = await runModule(
    `${before}
    const { embed, version } = await import('embedding-engine')
    if (!version) throw new Error('the import alone failed')
    try {
      await embed('a')
    } catch (error) {
      console.log(JSON.stringify({ code: error.code, message: error.message, ...error.details }))
    }`,
    { env: { EMBEDDING_ENGINE_ADDON: addon } },
  )
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Told
}

test('a named addon that is not there: its path, and no other is tried', async (t) => {
  const told = await firstCall('/nowhere/addon.node')
  t.is(told.code, 'NATIVE_LOAD_FAILED')
  t.is(told.attempts.length, 1)
  t.like(told.attempts[0], { path: '/nowhere/addon.node', origin: 'EMBEDDING_ENGINE_ADDON', code: 'ENOENT' })
  t.true(told.message.includes('/nowhere/addon.node'))
})

test('a file that is no addon: what the system said, and what to do', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'embedding-engine-loader-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'broken.node')
  writeFileSync(path, 'this is no shared library, though it is long enough to hold a header of one '.repeat(10))
  const told = await firstCall(path)
  t.is(told.attempts[0]?.code, 'ERR_DLOPEN_FAILED')
  t.true(told.attempts[0]!.message.length > 10)
  t.true(told.message.includes(told.attempts[0]!.remedy))
})

test('an addon of another version is refused', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'embedding-engine-loader-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'old.cjs')
  writeFileSync(path, "module.exports = { version: () => '0.0.1' }")
  const told = await firstCall(path)
  t.is(told.attempts[0]?.code, 'VERSION_MISMATCH')
  t.true(told.message.includes('0.0.1'))
})

test('without a named addon both places are told', async (t) => {
  // A platform for which nothing was built or installed here.
  const told = await firstCall(
    undefined,
    "Object.defineProperty(process, 'arch', { value: process.arch === 'arm64' ? 'x64' : 'arm64' })",
  )
  t.is(told.code, 'NATIVE_LOAD_FAILED')
  t.deepEqual(
    told.attempts.map(({ origin, code }) => [origin, code]),
    [
      ['built in this checkout', 'ENOENT'],
      ['platform package', 'MODULE_NOT_FOUND'],
    ],
  )
  t.regex(told.message, /npm\/cli#4828/)
})

test('an unsupported platform is told which are supported', async (t) => {
  const told = await firstCall(undefined, "Object.defineProperty(process, 'platform', { value: 'freebsd' })")
  t.regex(told.message, /no build for freebsd/)
  t.regex(told.message, /Linux x64 \(glibc\), .*macOS arm64.*Windows x64/)
  t.deepEqual(told.attempts, [])
})

test('a failure is not remembered', async (t) => {
  const { stdout } = await runModule(
    `const { embed } = await import('embedding-engine')
    const first = await embed('a').catch((error) => error.code)
    process.env.EMBEDDING_ENGINE_ADDON = ${JSON.stringify(FAKE_ADDON)}
    const second = await embed('a', { model: 'fake' })
    console.log(first, second.dimensions)`,
    { env: { EMBEDDING_ENGINE_ADDON: '/nowhere/addon.node' } },
  )
  t.is(stdout.trim(), 'NATIVE_LOAD_FAILED 4')
})
