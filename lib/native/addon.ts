import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { EmbeddingError } from '../errors.ts'
import { version } from '../version.ts'
import type { Binding } from './binding.ts'
import { currentKey, currentPlatform, unsupportedMessage } from './platform.ts'

const require = createRequire(import.meta.url)

/** The folder of package.json; this file runs as dist/lib/native/addon.js. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** One place where the addon was looked for. */
export interface LoadAttempt {
  /** The path or package. */
  path: string
  /** Why it is looked for there. */
  origin: string
  /** Whether it loaded. */
  loaded: boolean
  /** The system's or Node's code of the failure, such as `ERR_DLOPEN_FAILED`. */
  code?: string
  /** What the system said. */
  message?: string
  /** What to do about it. */
  remedy?: string
}

/** The addon, once loaded. */
export interface Addon {
  binding: Binding
  /** The file it came from. */
  path: string
  /** What was tried before, and this one. */
  attempts: LoadAttempt[]
}

let loaded: Addon | undefined

/**
 * The addon, loaded at the first call. A failure is not remembered, so that a mended installation works.
 *
 * @throws EmbeddingError `NATIVE_LOAD_FAILED`
 */
export function loadAddon(): Addon {
  loaded ??= tryAll()
  return loaded
}

interface Candidate {
  origin: string
  path: string
  /** Turns the name of a package into its file; throws if it is not installed. */
  locate?: () => string
}

function candidates(): Candidate[] {
  const asked = process.env.EMBEDDING_ENGINE_ADDON
  // What was asked for, or an error: no other place is looked at.
  if (asked) return [{ origin: 'EMBEDDING_ENGINE_ADDON', path: resolve(asked) }]
  const platform = currentPlatform()
  if (!platform) return []
  const file = `embedding-engine.${platform.key}.node`
  const name = `embedding-engine-${platform.key}`
  return [
    { origin: 'built in this checkout', path: join(PACKAGE_ROOT, file) },
    {
      origin: 'platform package',
      path: name,
      locate: () => join(dirname(require.resolve(`${name}/package.json`)), file),
    },
  ]
}

function tryAll(): Addon {
  const attempts: LoadAttempt[] = []
  for (const candidate of candidates()) {
    try {
      const path = candidate.locate?.() ?? candidate.path
      if (!existsSync(path)) throw Object.assign(new Error('There is no such file.'), { code: 'ENOENT' })
      const binding = require(path) as Binding
      checkVersion(binding, path)
      attempts.push({ path, origin: candidate.origin, loaded: true })
      return { binding, path, attempts }
    } catch (error) {
      attempts.push(failedAttempt(candidate, error))
    }
  }
  throw loadFailed(attempts)
}

/** An addon of another version would misread what this side sends. */
function checkVersion(binding: Binding, path: string): void {
  const found = typeof binding.version === 'function' ? binding.version() : 'unknown'
  if (found === version) return
  const message = `${path} is of version ${found}, but this package is ${version}.`
  throw Object.assign(new Error(message), { code: 'VERSION_MISMATCH' })
}

function failedAttempt({ origin, path }: Candidate, error: unknown): LoadAttempt {
  const { code, message } = error as { code?: unknown; message?: unknown }
  const attempt: LoadAttempt = {
    path,
    origin,
    loaded: false,
    code: typeof code === 'string' ? code : 'UNKNOWN',
    message: String(message ?? error).split('\n')[0]!,
  }
  return { ...attempt, remedy: remedy(attempt) }
}

/** What to do, judged by what the system said: Node gives every failure of the linker the same code. */
function remedy({ code, message = '', origin }: LoadAttempt): string {
  const glibc = /GLIBC(?:XX)?_[\d.]+/.exec(message)
  if (glibc) return `This system's C library is older than ${glibc[0]}: use a newer distribution or image.`
  const library = /(\S+\.(?:so|dylib|dll)[\d.]*): cannot open shared object file/.exec(message)
  if (library) return `Install the system library ${library[1]}.`
  if (/invalid ELF header|wrong ELF class|mach-o|not a valid Win32|incompatible architecture/i.test(message)) {
    return 'The file is for another platform: remove node_modules and install on this machine.'
  }
  if (code === 'VERSION_MISMATCH') {
    return origin === 'built in this checkout'
      ? 'Run npm start, which builds it anew.'
      : 'Install both in the same version: npm install embedding-engine.'
  }
  if (code === 'MODULE_NOT_FOUND') {
    return (
      'Install without --omit=optional. If the lock file was made on another platform, npm may have left the package ' +
      'out (npm/cli#4828): remove node_modules and package-lock.json, then npm install.'
    )
  }
  if (code === 'ENOENT') {
    return origin === 'built in this checkout'
      ? 'In a checkout npm start builds it; an installed package does not need it.'
      : 'Give the path of an existing file, or install the package again.'
  }
  return 'Install the package again on this machine; if that does not help, please report this with the whole message.'
}

function loadFailed(attempts: LoadAttempt[]): EmbeddingError {
  const key = currentKey()
  if (attempts.length === 0) {
    return new EmbeddingError('NATIVE_LOAD_FAILED', `The native addon cannot be loaded: ${unsupportedMessage(key)}`, {
      details: { platform: key, attempts },
    })
  }
  const lines = attempts.map(
    (attempt, i) =>
      `  ${i + 1}. ${attempt.path} (${attempt.origin}): ${attempt.code}: ${attempt.message}\n     ${attempt.remedy}`,
  )
  return new EmbeddingError(
    'NATIVE_LOAD_FAILED',
    `The native addon for ${key} cannot be loaded. Tried:\n${lines.join('\n')}`,
    { details: { platform: key, attempts } },
  )
}
