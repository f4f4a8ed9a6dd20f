import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** How a child process ended. */
export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string | undefined>
  input?: string | Buffer
  cwd?: string
  /** Called with all of stdout so far, whenever there is more. */
  onStdout?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void
}

/** Runs Node with the given arguments. `binary` output is latin1. */
export function runNode(args: string[], { env, input, cwd = ROOT, onStdout }: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env: { ...process.env, NODE_OPTIONS: '', ...env } })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
      onStdout?.(stdout, (signal) => child.kill(signal))
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
    child.stdin.on('error', () => {})
    child.stdin.end(input ?? '')
  })
}

/** Runs the source of an ES module in a process of its own. */
export function runModule(source: string, options?: RunOptions): Promise<Outcome> {
  return runNode(['--input-type=module', '--eval', source], options)
}

/** Runs the command line. */
export function runCli(args: string[], options?: RunOptions): Promise<Outcome> {
  return runNode([`${ROOT}/dist/lib/cli/main.js`, ...args], options)
}
