import { join, relative } from 'node:path'

import type { SearchHit } from '../search-index.ts'

/** As many lines of a chunk are shown. */
const MOST_LINES = 6

/** Codes of ECMA-48. */
const STYLES = { path: '36', name: '1', faint: '2' } as const

/** Writes hits for people: where, what it is called, what it is, the score, the first lines. */
export class HitPrinter {
  readonly #folder: string
  readonly #colours: boolean
  readonly #width: number

  /** `folder` is what the paths of hits are relative to; they are shown relative to the current folder. */
  constructor(folder: string, { isTTY, columns }: { isTTY?: boolean; columns?: number } = process.stdout) {
    this.#folder = folder
    // https://no-color.org
    this.#colours = isTTY === true && !process.env.NO_COLOR
    this.#width = isTTY ? Math.max(20, (columns || 80) - 1) : Infinity
  }

  /** All hits, with an empty line after each. */
  print(hits: SearchHit[]): string {
    if (hits.length === 0) return 'Nothing was found.\n'
    return hits.map((hit) => `${this.#head(hit)}\n${this.#lines(hit)}\n`).join('')
  }

  #head({ path, startLine, endLine, name, kind, score }: SearchHit): string {
    const place = `${plain(relative('.', join(this.#folder, path)))}:${startLine}-${endLine}`
    const title = name === null ? [] : [this.#style('name', plain(name))]
    return [this.#style('path', place), ...title, this.#style('faint', `${kind}  ${score.toFixed(3)}`)].join('  ')
  }

  #lines({ text, startLine }: SearchHit): string {
    const lines = text.split(/\r?\n/)
    const shown = lines.slice(0, MOST_LINES)
    const digits = String(startLine + shown.length - 1).length
    const numbered = shown.map((line, i) => {
      const number = `${String(startLine + i).padStart(digits + 2)}  `
      return `${this.#style('faint', number)}${this.#cut(plain(line), number.length)}`.trimEnd()
    })
    const more = lines.length - shown.length
    if (more > 0) numbered.push(this.#style('faint', `${' '.repeat(digits + 4)}… ${more} more lines`))
    return `${numbered.join('\n')}\n`
  }

  #cut(line: string, taken: number): string {
    const room = this.#width - taken
    return line.length > room ? `${line.slice(0, Math.max(0, room - 1))}…` : line
  }

  #style(style: keyof typeof STYLES, text: string): string {
    return this.#colours ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text
  }
}

/** Without what a terminal would take for a command: the sources of others are shown here. */
function plain(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll('\t', '  ').replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '·')
}
