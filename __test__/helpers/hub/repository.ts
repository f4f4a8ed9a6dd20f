import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A file as the hub knows it. */
export interface HubFile {
  content: Buffer
  /** Large files lie in LFS, and are served by the CDN. */
  lfs: boolean
  /** sha256 of a file in LFS, git's blob hash of another. */
  hash: string
  /** git's blob hash of what git itself holds. */
  oid: string
  /** What the listing says, where that is not the truth. */
  listedSize?: number
}

/** A repository on the loopback hub: the files of each commit, and the names of commits. */
export interface Repository {
  commits: Map<string, Map<string, HubFile>>
  refs: Map<string, string>
  /** Needs this token. */
  gate?: { token: string; code?: string }
}

/** A file with its hashes. Which ones the real hub puts into LFS is decided by its .gitattributes. */
export function hubFile(path: string, content: Buffer): HubFile {
  const lfs = /\.(safetensors|onnx|onnx_data|bin)$|tokenizer\.json$/.test(path)
  const sha256 = createHash('sha256').update(content).digest('hex')
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${content.length}\n`
  const oid = gitHash(lfs ? Buffer.from(pointer) : content)
  return { content, lfs, hash: lfs ? sha256 : oid, oid }
}

/** The files of a folder; links are followed, hidden files left out. */
export function filesOf(folder: string): Map<string, HubFile> {
  const files = new Map<string, HubFile>()
  const walk = (below: string): void => {
    for (const name of readdirSync(join(folder, below)).sort()) {
      const path = below === '' ? name : `${below}/${name}`
      if (name.startsWith('.')) continue
      if (statSync(join(folder, path)).isDirectory()) walk(path)
      else files.set(path, hubFile(path, readFileSync(join(folder, path))))
    }
  }
  walk('')
  return files
}

function gitHash(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
}
