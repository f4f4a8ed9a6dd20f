import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { ExecutionContext } from 'ava'

import { ensureModels, isAvailable, loadTexts } from '../fixtures/make-models.mjs'
import { ROOT } from './process.ts'

const OUT = join(ROOT, 'target', 'test-models')
const REFERENCES = new URL('../fixtures/references/', import.meta.url)

/** The folder of a test model, made if it is missing. */
export function model(name: string): string {
  return join(ensureModels({ names: [name], out: OUT }), name)
}

/** A copy of a test model that a test may break; removed when the test ends. */
export function brokenCopy(t: ExecutionContext, name: string): string {
  const parent = mkdtempSync(join(tmpdir(), 'embedding-engine-broken-'))
  t.teardown(() => rmSync(parent, { recursive: true, force: true }))
  const folder = join(parent, name)
  cpSync(model(name), folder, { recursive: true })
  return folder
}

/** The texts of the fixtures, by name. */
export const texts = loadTexts() as Record<string, string>

/** One text of a reference, with the vector that it must give. */
export interface ReferenceCase {
  text: string
  call: Record<string, unknown>
  tokens: number
  truncated: boolean
  /** Length before normalising, where the folder does not normalise. */
  norm?: number
  /** f32, little endian, base64 */
  vector: string
}

/** What another implementation computed with a test model. */
export interface Reference {
  model: string
  source: string
  dims: number
  tolerance: number
  cases: ReferenceCase[]
  late?: { document: string; call: Record<string, unknown>; chunks: { start: number; end: number; vector: string }[] }[]
  quantized?: { text: string; int8: string; uint8: string; binary: string; ubinary: string }[]
}

/** Every model that has references and can be made here. */
export function referenceNames(): string[] {
  return readdirSync(REFERENCES)
    .map((file) => file.replace('.json', ''))
    .filter((name) => name !== 'tokenizers' && isAvailable(name))
    .sort()
}

/** The references of a model. */
export function reference(name: string): Reference {
  return JSON.parse(readFileSync(new URL(`${name}.json`, REFERENCES), 'utf8')) as Reference
}

/** A vector of a reference. */
export function decodeFloats(base64: string): Float32Array {
  const bytes = Buffer.from(base64, 'base64')
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i))
}

/** The vector scaled to length 1. */
export function unitLength(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector)
  return vector.map((x) => x / length)
}
