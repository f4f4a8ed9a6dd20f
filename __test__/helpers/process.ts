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
  input?: string
  /** Sends an interrupt, as Ctrl-C does, once this is true. */
  interruptWhen?: () => boolean
  /** Closes the reading end of stdout after so many bytes. */
  closeStdoutAfter?: number
}

/** Runs Node with the given arguments. */
export function runNode(
  args: string[],
  { env, input, interruptWhen, closeStdoutAfter }: RunOptions = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    // No test reaches for the real hub by mistake.
    const quiet = { NODE_OPTIONS: '', HF_HUB_OFFLINE: '1' }
    const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...process.env, ...quiet, ...env } })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
      if (closeStdoutAfter !== undefined && stdout.length >= closeStdoutAfter) child.stdout.destroy()
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
    const timer = setInterval(() => {
      if (!interruptWhen?.()) return
      clearInterval(timer)
      child.kill('SIGINT')
    }, 20)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearInterval(timer)
      resolve({ code, signal, stdout, stderr })
    })
    // A child that ends early does not read all of its input.
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
