import type { EmbeddingProgress, ProgressCallback } from '../progress.ts'

const BAR_WIDTH = 24

/** A line on standard error that tells how far the work is; nothing where standard error is no terminal. */
export class ProgressBar {
  readonly #stream = process.stderr
  #shown = false

  /** The callback to pass on; `undefined` where there is nobody to see it. */
  get callback(): ProgressCallback | undefined {
    return this.#stream.isTTY ? (progress) => this.#show(describe(progress)) : undefined
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[K')
    this.#shown = false
  }

  #show(line: string): void {
    this.#stream.write(`\r\x1b[K${line.slice(0, (this.#stream.columns ?? 80) - 1)}`)
    this.#shown = true
  }
}

/** One event in words. */
export function describe(progress: EmbeddingProgress): string {
  switch (progress.status) {
    case 'loading':
      return `loading ${progress.model}`
    case 'ready':
      return `${progress.model} is ready on ${progress.device}`
    case 'embedding': {
      const { done, total, tokensPerSecond, etaSeconds } = progress
      const speed = `${Math.round(tokensPerSecond)} tokens/s`
      if (total === undefined) return `${done} texts  ${speed}`
      const filled = total > 0 ? Math.round((BAR_WIDTH * done) / total) : BAR_WIDTH
      const left = etaSeconds === undefined ? '' : `  ${Math.ceil(etaSeconds)} s left`
      return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${done}/${total}  ${speed}${left}`
    }
  }
}
