import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

/** Where results go. */
export interface Sink {
  write(data: Uint8Array | string): Promise<void>
  /** Writes over what was written at an earlier place; absent where that is impossible. */
  patch?(position: number, data: Uint8Array): Promise<void>
  /** All was written. */
  commit(): Promise<void>
  /** It failed: nothing half-written is left. */
  abandon(): Promise<void>
}

/** Standard output, as fast as its reader takes it. */
export const standardOutput: Sink = {
  async write(data) {
    if (!process.stdout.write(data)) await once(process.stdout, 'drain')
  },
  async commit() {},
  async abandon() {},
}

/** A file that appears under its name only when it is whole. */
export class FileSink implements Sink {
  readonly #path: string
  readonly #partial: string
  readonly #handle: FileHandle

  private constructor(path: string, partial: string, handle: FileHandle) {
    this.#path = path
    this.#partial = partial
    this.#handle = handle
  }

  static async create(path: string): Promise<FileSink> {
    const partial = `${path}.${randomBytes(4).toString('hex')}.partial`
    return new FileSink(path, partial, await open(partial, 'wx'))
  }

  async write(data: Uint8Array | string): Promise<void> {
    await this.#handle.writeFile(data)
  }

  async patch(position: number, data: Uint8Array): Promise<void> {
    await this.#handle.write(data, 0, data.length, position)
  }

  async commit(): Promise<void> {
    await this.#handle.close()
    await rename(this.#partial, this.#path)
  }

  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {})
    await rm(this.#partial, { force: true })
  }
}
