import type { StreamPart } from '../../results.ts'
import type { InputText } from '../inputs.ts'
import type { Sink } from '../sink.ts'

/** Writes the parts of a stream in one format. */
export interface FormatWriter {
  /** Takes the next part; `inputs` are its texts, in order. */
  write(part: StreamPart, inputs: readonly InputText[]): Promise<void>
  /** All parts were taken. */
  end(): Promise<void>
}

/** Makes a writer over a sink. */
export type Format = (sink: Sink) => FormatWriter
