// npm test: all set-up from a fresh clone, then the tests of the Rust core and those of the public API (ava).
// Ends with one line that counts both. Further arguments go to ava: npm test -- __test__/stream.test.ts
import { spawn } from 'node:child_process'
import { join } from 'node:path'

import { ROOT, main, setup } from './setup.mjs'

/** Runs a command, shows its output and returns it with the exit code. */
function tee(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      process.stdout.write(chunk)
      output += chunk
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** The sum of the first group of each match. */
function sum(output, pattern) {
  let total = 0
  for (const [, count] of output.matchAll(pattern)) total += Number(count)
  return total
}

/** A runner that failed without a failed test (it did not compile, it was killed) counts as one failure. */
function counted(name, code, passed, failed) {
  const counts = { passed, failed: failed === 0 && (code !== 0 || passed === 0) ? 1 : failed }
  console.log(`${name}: ${counts.passed} passed, ${counts.failed} failed\n`)
  return counts
}

async function testCore() {
  console.log('\n[test] Rust core: cargo test --release --workspace')
  const { code, output } = await tee('cargo', ['test', '--release', '--workspace', '--no-fail-fast'])
  return counted(
    'core',
    code,
    sum(output, /^test result: .*? (\d+) passed/gm),
    sum(output, /^test result: .*? (\d+) failed/gm),
  )
}

async function testApi(args) {
  console.log('\n[test] Public API: ava')
  const ava = join(ROOT, 'node_modules/ava/entrypoints/cli.mjs')
  const { code, output } = await tee(process.execPath, [ava, ...args])
  // ava's closing lines leave out how many passed where some failed: each test has a line of its own.
  const lines = (mark) => output.split('\n').filter((line) => line.trimStart().startsWith(mark)).length
  const others =
    /^\s+(\d+) (?:uncaught exceptions?|unhandled rejections?|tests? remained pending.*|tests? timed out.*)$/gm
  return counted('api', code, lines('✔ '), lines('✘ ') + sum(output, others))
}

await main(async () => {
  const args = process.argv.slice(2)
  await setup()
  const results = args.length > 0 ? [await testApi(args)] : [await testCore(), await testApi(args)]
  const passed = results.reduce((total, result) => total + result.passed, 0)
  const failed = results.reduce((total, result) => total + result.failed, 0)
  console.log(`tests: ${passed} passed, ${failed} failed`)
  if (failed > 0) process.exitCode = 1
})
