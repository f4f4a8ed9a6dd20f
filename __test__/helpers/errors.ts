import type { ExecutionContext } from 'ava'
import { EmbeddingError } from 'embedding-engine'
import type { ErrorCode } from 'embedding-engine'

/** Asserts that a promise rejects with the code, and that the message says each of the words. Returns the error. */
export async function rejectsWith(
  t: ExecutionContext,
  promise: Promise<unknown>,
  code: ErrorCode,
  ...words: (string | RegExp)[]
): Promise<EmbeddingError> {
  // Not by throwsAsync, which prints all vectors of a call that went well.
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof EmbeddingError))
    throw new Error(`${code} was expected, not ${String(error)}`, { cause: error })
  t.is(error.code, code, error.message)
  for (const word of words) t.regex(error.message, typeof word === 'string' ? new RegExp(escaped(word)) : word)
  return error
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}

/** The first part of a stream, which rejects if the stream does. */
export async function first<T>(parts: AsyncIterable<T>): Promise<T | undefined> {
  for await (const part of parts) return part
  return undefined
}
