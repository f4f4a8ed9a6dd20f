import { fromNative } from './errors.ts'
import { loadAddon } from './native/addon.ts'
import { checkChunkCodeOptions, checkChunkFilesOptions, checkText } from './validate.ts'

/**
 * What a chunk is: a declaration, the header of one whose members stand for themselves, a section of a document, or
 * (`block`) what lies between.
 */
export type ChunkKind =
  | 'function'
  | 'method'
  | 'class'
  | 'interface'
  | 'enum'
  | 'implementation'
  | 'module'
  | 'type'
  | 'macro'
  | 'section'
  | 'block'

/** A part of a source text. */
export interface CodeChunk {
  /** The source as it stands: `source.slice(start, end)`. */
  text: string
  /**
   * What to embed: a line with the names of what it lies in and several times its own, which the bundled model is
   * trained on; a line with the signature; the source.
   */
  embedText: string
  /** What it is called. */
  name: string | null
  kind: ChunkKind
  /** How it is declared, on one line. */
  signature: string | null
  /** What its comments or its docstring say. */
  doc: string | null
  /** The first UTF-16 unit. */
  start: number
  /** One past the last. */
  end: number
  /** From 1. */
  startLine: number
  /** From 1. */
  endLine: number
  /** `typescript`, `python`, …; null where it is cut at empty lines. */
  language: string | null
}

/** Options of {@link chunkCode}. */
export interface ChunkCodeOptions {
  /**
   * The language, such as `typescript` or `ts`. One that is not known is cut at empty lines.
   * @defaultValue by `path`
   * @example
   * ```ts
   * chunkCode(source, { language: 'python' })
   * ```
   */
  language?: string
  /**
   * The name of the file, which tells the language.
   * @defaultValue none: the text is cut at empty lines
   * @example
   * ```ts
   * chunkCode(source, { path: 'src/index.ts' })
   * ```
   */
  path?: string
  /**
   * The largest chunk, in bytes of UTF-8. What is larger is cut between statements; only a single token may exceed it.
   * @defaultValue 2000, about 500 tokens of code
   * @example
   * ```ts
   * chunkCode(source, { path: 'a.rs', maxBytes: 4000 })
   * ```
   */
  maxBytes?: number
}

/** Why a file has no chunks. */
export type SkipReason = 'binary' | 'generated' | 'minified' | 'large' | 'vendored' | 'unreadable'

/** Options of {@link chunkFiles}. */
export interface ChunkFilesOptions {
  /**
   * Globs of the files to take; `*` stays within a folder, `**` does not.
   * @defaultValue all
   * @example
   * ```ts
   * chunkFiles('.', { include: ['src/**'] })
   * ```
   */
  include?: string[]
  /**
   * Globs of files to leave out.
   * @defaultValue none
   * @example
   * ```ts
   * chunkFiles('.', { exclude: ['**\/*.test.ts'] })
   * ```
   */
  exclude?: string[]
  /**
   * Larger files are skipped.
   * @defaultValue 1,048,576
   * @example
   * ```ts
   * chunkFiles('.', { maxFileBytes: 200_000 })
   * ```
   */
  maxFileBytes?: number
  /**
   * As for {@link chunkCode}.
   * @defaultValue 2000
   * @example
   * ```ts
   * chunkFiles('.', { maxBytes: 4000 })
   * ```
   */
  maxBytes?: number
  /**
   * Told of each file that is skipped. What `.gitignore`, `.embeddingignore` or the options leave out is not.
   * @defaultValue none
   * @example
   * ```ts
   * chunkFiles('.', { onSkip: (path, reason) => console.error(reason, path) })
   * ```
   */
  onSkip?: (path: string, reason: SkipReason) => void
  /**
   * Ends the loop with the signal's reason.
   * @defaultValue none
   * @example
   * ```ts
   * chunkFiles('.', { signal: controller.signal })
   * ```
   */
  signal?: AbortSignal
}

/** A file with its chunks. */
export interface FileChunks {
  /** Relative to the folder, with `/`. */
  path: string
  language: string | null
  chunks: CodeChunk[]
}

/** A chunk as the core gives it: the text stays on this side. */
type NativeChunk = Omit<CodeChunk, 'text' | 'embedText'> & { head: string }

type NativeFile =
  | { path: string; skipped: SkipReason }
  | { path: string; language: string | null; text: string; chunks: NativeChunk[] }

/**
 * Cuts source code where it should be cut: at functions, methods, the headers of classes; Markdown at its headings,
 * other texts at empty lines. The chunks cover the text, in order; only white space lies between them.
 *
 * @throws EmbeddingError `INVALID_INPUT`, `INVALID_OPTION`
 * @example
 * ```ts
 * for (const { name, kind, startLine, embedText } of chunkCode(source, { path: 'src/queue.ts' })) {
 *   console.log(kind, name, startLine, embedText.length)
 * }
 * ```
 */
export function chunkCode(text: string, options: ChunkCodeOptions = {}): CodeChunk[] {
  checkText(text)
  checkChunkCodeOptions('chunkCode', options)
  let json: string
  try {
    json = loadAddon().binding.chunkCode(text, JSON.stringify(options))
  } catch (error) {
    throw fromNative(error)
  }
  return complete(text, JSON.parse(json) as NativeChunk[])
}

/**
 * The files of a folder with their chunks, one at a time, in bounded memory. What `.gitignore` and
 * `.embeddingignore` name, hidden files and installed dependencies are left out; binary, generated, minified,
 * vendored and large files are skipped, and `onSkip` is told.
 *
 * @throws EmbeddingError `INVALID_INPUT` for what is no folder, `INVALID_OPTION`
 * @example
 * ```ts
 * for await (const { path, chunks } of chunkFiles('./my-repo')) console.log(path, chunks.length)
 * ```
 */
export async function* chunkFiles(
  folder: string,
  options: ChunkFilesOptions = {},
): AsyncGenerator<FileChunks, void, undefined> {
  checkText(folder)
  checkChunkFilesOptions('chunkFiles', options)
  const { signal, onSkip, ...rest } = options
  signal?.throwIfAborted()
  const files = await native(() => new (loadAddon().binding.NativeFiles)(folder, JSON.stringify(rest)))
  for (;;) {
    const part = JSON.parse(await native(() => files.next())) as NativeFile[]
    if (part.length === 0) return
    for (const file of part) {
      signal?.throwIfAborted()
      if ('skipped' in file) onSkip?.(file.path, file.skipped)
      else yield { path: file.path, language: file.language, chunks: complete(file.text, file.chunks) }
    }
  }
}

/** What the core throws, typed. */
async function native<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw fromNative(error)
  }
}

function complete(source: string, chunks: NativeChunk[]): CodeChunk[] {
  return chunks.map(({ head, ...chunk }) => {
    const text = source.slice(chunk.start, chunk.end)
    return { text, embedText: head === '' ? text : `${head}\n${text}`, ...chunk }
  })
}
