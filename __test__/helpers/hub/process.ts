import { spawn } from 'node:child_process'

import type { ExecutionContext } from 'ava'

import { ROOT } from '../process.ts'
import { cleanEnv } from './engine.ts'

/** A process that uses the package, and may be killed. */
export interface Child {
  kill(signal: NodeJS.Signals): void
  /** Its exit code; null where a signal ended it. */
  ended: Promise<number | null>
  readonly exitCode: number | null
  stdout(): string
  stderr(): string
}

/** Starts Node on the source of an ES module; killed when the test ends. */
export function startModule(t: ExecutionContext, source: string, env: Record<string, string>): Child {
  return startProgram(t, process.execPath, ['--input-type=module', '--eval', source], env)
}

/** Starts the command line; killed when the test ends. */
export function startCli(t: ExecutionContext, args: string[], env: Record<string, string>): Child {
  return startProgram(t, process.execPath, [`${ROOT}/dist/lib/cli/main.js`, ...args], env)
}

/** A process that downloads o/n. */
export function startDownload(t: ExecutionContext, hub: { url: string }, cache: string, env = {}): Child {
  const source = `import { EmbeddingEngine } from 'embedding-engine'
    const { downloadedBytes } = await new EmbeddingEngine().download('o/n')
    console.log(downloadedBytes)`
  return startModule(t, source, { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, ...env })
}

/** Starts a program in the root; killed when the test ends. */
export function startProgram(t: ExecutionContext, program: string, args: string[], env: Record<string, string>): Child {
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...process.env, ...cleanEnv(env), NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (part: Buffer) => (said[name] += part.toString()))
  }
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)))
  return {
    kill: (signal) => void child.kill(signal),
    ended,
    get exitCode() {
      return child.exitCode
    },
    stdout: () => said.stdout,
    stderr: () => said.stderr,
  }
}
