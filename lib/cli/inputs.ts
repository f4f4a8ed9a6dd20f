import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'

import { UsageError } from './exit.ts'

/** One text, and where it came from. */
export interface InputText {
  text: string
  /** The file that it is; absent for arguments and lines. */
  file?: string
}

/** Texts of the command line: arguments, then whole files; without either, the lines of standard input. */
export function inputTexts(texts: readonly string[], files: readonly string[]): AsyncIterable<InputText> {
  if (texts.length > 0 || files.length > 0) return fromArguments(texts, files)
  if (process.stdin.isTTY) {
    throw new UsageError('There is nothing to embed. Give texts, --file, or lines on standard input.')
  }
  return fromLines()
}

async function* fromArguments(texts: readonly string[], files: readonly string[]): AsyncGenerator<InputText> {
  for (const text of texts) yield { text }
  for (const file of files) yield { text: await readFile(file, 'utf8'), file }
}

async function* fromLines(): AsyncGenerator<InputText> {
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })
  try {
    for await (const text of lines) yield { text }
  } finally {
    lines.close()
    process.stdin.destroy()
  }
}
