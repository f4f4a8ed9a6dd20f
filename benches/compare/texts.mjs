// The texts: stretches of this repository's own sources, cut to given numbers of tokens. The same in each run of a checkout.
import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import { loadTexts } from '../../__test__/fixtures/texts.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SOURCES = ['lib', 'crates/engine/src']
/** Fixtures that go with the mixed texts as they are, where their length is within its bounds. */
const FIXTURES = ['code_ts', 'code_py', 'markup', 'accents']
/** Characters that a stretch starts with: enough for 512 tokens of any tokenizer. */
const STRETCH = 6000

export const SETS = {
  mixed: 'code of 20 to 400 tokens',
  short: '8 texts of 128 tokens',
  long: '1 text of 512 tokens',
}

/** The lengths of a set in tokens, none above what the model reads. */
function lengths(set, limit, count) {
  if (set === 'short') return new Array(8).fill(Math.min(128, limit))
  if (set === 'long') return [Math.min(512, limit)]
  const span = Math.min(400, limit) - 20 + 1
  return Array.from({ length: count }, (_, i) => 20 + ((i * 7919) % span))
}

function sources() {
  const files = SOURCES.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(ts|rs)$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name)),
  )
  const paths = files.map((file) => relative(ROOT, file).replaceAll('\\', '/')).sort()
  return paths.map((path) => readFileSync(join(ROOT, path), 'utf8')).join('\n\n')
}

/** The stretches that texts are cut from: each begins after an empty line, and they lie evenly over all sources. */
function stretches(count, length) {
  const text = sources()
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor((i * Math.max(0, text.length - 2 * length)) / count)
    const start = text.indexOf('\n\n', from) + 2
    return text.slice(start, start + length).trimStart()
  })
}

/** Cuts at a character, but not within one. */
function cut(text, length) {
  const half = /[\uD800-\uDBFF]/.test(text[length - 1] ?? '') ? 1 : 0
  return text.slice(0, length - half)
}

/**
 * The texts of a set.
 * @param {(texts: string[]) => Promise<number[]>} count how many tokens the model reads for each
 */
export async function makeTexts(set, { limit, texts, count }) {
  const made = await textsOf(lengths(set, limit, texts), count)
  if (set !== 'mixed') return made
  const named = loadTexts()
  const fixtures = FIXTURES.map((name) => named[name])
  const counts = await count(fixtures)
  return [...made, ...fixtures.filter((_, i) => counts[i] >= 20 && counts[i] <= Math.min(400, limit))]
}

/** Texts of so many tokens each, or a few less where a character is several tokens; `count` as for `makeTexts`. */
export async function textsOf(targets, count) {
  const from = stretches(targets.length, Math.max(STRETCH, 6 * Math.max(...targets)))
  // For each the longest beginning within its number of tokens, all searched for at once.
  const low = targets.map(() => 1)
  const high = from.map((text) => text.length)
  while (low.some((value, i) => value < high[i])) {
    const middle = low.map((value, i) => Math.ceil((value + high[i]) / 2))
    const counts = await count(from.map((text, i) => cut(text, middle[i])))
    for (const [i, tokens] of counts.entries()) {
      if (tokens <= targets[i]) low[i] = middle[i]
      else high[i] = middle[i] - 1
    }
  }
  return from.map((text, i) => cut(text, low[i]))
}
