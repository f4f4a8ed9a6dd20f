import type { Logger } from '../options.ts'
import type { EmbeddingProgress, ProgressCallback } from '../progress.ts'
import { bytes, duration } from './units.ts'

const BAR_WIDTH = 24
/** As many files as are fetched at once. */
const MOST_FILES = 4

type Total = Extract<EmbeddingProgress, { status: 'progress_total' }>

/**
 * Lines on standard error that tell how far the work is: one for each file in transfer and one for all of them, or
 * one for the texts. Nothing where standard error is no terminal.
 */
export class ProgressBar {
  readonly #stream = process.stderr
  /** The lines as they stand on the terminal. */
  #lines: string[] = []
  /** Models may be fetched side by side. */
  readonly #downloads = new Map<string, Total>()
  readonly #files = new Map<string, number>()

  /** The callback to pass on; `undefined` where there is nobody to see it. */
  get callback(): ProgressCallback | undefined {
    return this.#stream.isTTY ? (progress) => this.#tell(progress) : undefined
  }

  /** Prints messages between the lines; without `info`, warnings alone. */
  logger({ info = false }: { info?: boolean } = {}): Logger {
    return {
      debug() {},
      info: (message) => info && this.print(message),
      warn: (message) => this.print(message),
    }
  }

  /** Prints a message on standard error, above the lines. */
  print(message: string): void {
    const lines = this.#lines
    this.clear()
    this.#stream.write(`embedding-engine: ${message}\n`)
    if (lines.length > 0) this.#draw(lines)
  }

  /** Takes the lines away. */
  clear(): void {
    if (this.#lines.length === 0) return
    const up = this.#lines.length - 1
    this.#stream.write(`\r${up > 0 ? `\x1b[${up}A` : ''}\x1b[J`)
    this.#lines = []
  }

  #tell(progress: EmbeddingProgress): void {
    const lines = this.#linesFor(progress)
    if (lines === undefined) return
    this.clear()
    this.#draw(lines)
  }

  #linesFor(progress: EmbeddingProgress): string[] | undefined {
    switch (progress.status) {
      case 'initiate':
      case 'download':
      case 'done':
        return undefined
      case 'progress':
        this.#files.set(`${progress.name}\n${progress.file}`, progress.bytesPerSecond)
        return undefined
      case 'progress_total':
        this.#downloads.set(progress.name, progress)
        return [...this.#downloads.values()].flatMap((total) => this.#download(total))
      default:
        this.#downloads.clear()
        return [describe(progress)]
    }
  }

  #download(total: Total): string[] {
    const moving = Object.entries(total.files)
      .filter(([, { loaded, total: size }]) => loaded > 0 && loaded < size)
      .slice(0, MOST_FILES)
      .map(([file, { loaded, total: size }]) => {
        const speed = this.#files.get(`${total.name}\n${file}`) ?? 0
        return `  ${amount(loaded, size)}  ${bytes(speed)}/s  ${file}`
      })
    return [...moving, describe(total)]
  }

  #draw(lines: string[]): void {
    // A line that wraps could not be taken away again.
    const width = Math.max(1, (this.#stream.columns || 80) - 1)
    this.#lines = lines.map((line) => Array.from(line).slice(0, width).join(''))
    this.#stream.write(this.#lines.join('\n'))
  }
}

/** One event in words. */
export function describe(progress: EmbeddingProgress): string {
  switch (progress.status) {
    case 'initiate':
      return `${progress.file} is needed`
    case 'download':
      return `downloading ${progress.file}`
    case 'done':
      return `${progress.file} is here`
    case 'progress':
    case 'progress_total': {
      const { loaded, total, bytesPerSecond, etaSeconds, name } = progress
      const left = etaSeconds === undefined ? '' : `  ${duration(etaSeconds)} left`
      return `${amount(loaded, total)}  ${bytes(bytesPerSecond)}/s${left}  ${name}`
    }
    case 'loading':
      return `loading ${progress.model}`
    case 'ready':
      return `${progress.model} is ready on ${progress.device}`
    case 'waiting':
      return 'another update of this index is running'
    case 'indexing': {
      const { done, total, chunks, tokensPerSecond, etaSeconds, file } = progress
      const left = etaSeconds === undefined ? '' : `  ${duration(etaSeconds)} left`
      return `${bar(done, total)} ${done}/${total} files  ${chunks} chunks  ${Math.round(tokensPerSecond)} tokens/s${left}  ${file}`
    }
    case 'embedding': {
      const { done, total, tokensPerSecond, etaSeconds } = progress
      const speed = `${Math.round(tokensPerSecond)} tokens/s`
      if (total === undefined) return `${done} texts  ${speed}`
      const left = etaSeconds === undefined ? '' : `  ${duration(etaSeconds)} left`
      return `${bar(done, total)} ${done}/${total}  ${speed}${left}`
    }
  }
}

function amount(loaded: number, total: number): string {
  const percent = total > 0 ? Math.floor((100 * loaded) / total) : 100
  return `${bar(loaded, total)} ${String(percent).padStart(3)} %  ${bytes(loaded)} of ${bytes(total)}`
}

function bar(done: number, total: number): string {
  const filled = total > 0 ? Math.round((BAR_WIDTH * done) / total) : BAR_WIDTH
  return '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled)
}
