import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

import type { ExecutionContext } from 'ava'
import { EmbeddingEngine } from 'embedding-engine'
import type { EngineOptions } from 'embedding-engine'

import { Hub } from './server.ts'

/** The commit that the catalogue pins `code` to. */
export const QODO_COMMIT = '84bbef079b32e8823ec226d4e9e92902706b0eb6'
/** A commit for other repositories. */
export const COMMIT = '0123456789abcdef0123456789abcdef01234567'

// The tests must not depend on what this machine has set for other tools.
for (const name of Object.keys(process.env)) {
  if (/^(HF_|HUGGING|TRANSFORMERS_)|_proxy$/i.test(name)) delete process.env[name]
}

/** The environment of a child process, without what this machine has set for other tools. */
export function cleanEnv(env: Record<string, string> = {}): Record<string, string | undefined> {
  return { NO_PROXY: '', HF_HUB_OFFLINE: '', EMBEDDING_ENGINE_ADDON: process.env.EMBEDDING_ENGINE_ADDON, ...env }
}

/** A hub that stops when the test ends. */
export async function startHub(t: ExecutionContext, options?: Parameters<typeof Hub.start>[0]): Promise<Hub> {
  const hub = await Hub.start(options)
  t.teardown(() => hub.stop())
  return hub
}

/** A folder that goes when the test ends. */
export function temporary(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'embedding-engine-hub-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What a logger was told. */
export interface Log {
  info: string[]
  warn: string[]
}

/** An engine on the hub, with a cache of its own unless one is given. */
export function engineOn(
  t: ExecutionContext,
  hub: { url: string },
  options: EngineOptions = {},
): { engine: EmbeddingEngine; cache: string; log: Log } {
  const cache = options.cacheDir ?? join(temporary(t), 'hub')
  const log: Log = { info: [], warn: [] }
  const logger = {
    debug() {},
    info: (text: string) => log.info.push(text),
    warn: (text: string) => log.warn.push(text),
  }
  const engine = new EmbeddingEngine({
    endpoint: hub.url,
    home: temporary(t),
    logger,
    threads: 1,
    ...options,
    cacheDir: cache,
  })
  t.teardown(() => engine.dispose())
  return { engine, cache, log }
}

/** Everything below a folder: links with their targets, files with their sizes. */
export function treeOf(folder: string): string[] {
  const found: string[] = []
  const walk = (path: string): void => {
    for (const name of readdirSync(path).sort()) {
      const full = join(path, name)
      const stat = lstatSync(full, { throwIfNoEntry: false })
      if (stat === undefined) continue
      const shown = relative(folder, full)
      if (stat.isSymbolicLink()) found.push(`${shown} -> ${readlinkSync(full)}`)
      else if (stat.isDirectory()) walk(full)
      else found.push(`${shown} ${stat.size}`)
    }
  }
  if (existsSync(folder)) walk(folder)
  return found
}

/** The largest unfinished file of a cache, or undefined. Others may come and go while this looks. */
export function unfinished(cache: string): { path: string; content: Buffer } | undefined {
  const found = treeOf(cache)
    .filter((line) => line.includes('.incomplete '))
    .map((line) => join(cache, line.replace(/ \d+$/, '')))
    .flatMap((path) => {
      try {
        return [{ path, content: readFileSync(path) }]
      } catch {
        return []
      }
    })
  return found.sort((a, b) => b.content.length - a.content.length)[0]
}

/**
 * What is promised within a second takes less than this on a machine that has other things to do, and far less than
 * anything that would have to be waited for instead (a stall of 30 s).
 */
export const SOON_MS = 8000

/**
 * A small file system of its own that goes when the test ends, or undefined where none can be mounted (that needs
 * root), which the test's log tells.
 */
export function mounted(t: ExecutionContext, size: string): string | undefined {
  const folder = temporary(t)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'ignore' })
  } catch {
    t.log('SKIPPED: no file system can be mounted here (needs root)')
    return undefined
  }
  t.teardown(() => execFileSync('umount', [folder]))
  return folder
}

/** Waits until it is true. */
export async function until(what: () => boolean, description: string, limitMs = 60_000): Promise<void> {
  const begin = performance.now()
  while (!what()) {
    if (performance.now() - begin > limitMs) throw new Error(`${description}: not within ${limitMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
