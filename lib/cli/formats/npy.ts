import type { Format } from './format.ts'

/** Bytes of the header: fixed, so that the number of rows can be filled in at the end. */
const HEADER_BYTES = 128

/**
 * A NumPy array of the vectors, one a row. Its header states the number of rows, which is known at the end: in a
 * file it is then filled in; for a pipe the vectors are held until then.
 */
export const npy: Format = (sink) => {
  const held: Uint8Array[] = []
  let rows = 0
  let width = 0
  let type = '<f4'
  return {
    async write(part) {
      if (rows === 0) {
        width = part.data.length / part.embeddings.length
        type = part.data instanceof Float32Array ? '<f4' : part.data instanceof Int8Array ? '|i1' : '|u1'
        if (sink.patch) await sink.write(header(type, 0, width))
      }
      rows += part.embeddings.length
      const bytes = new Uint8Array(part.data.buffer, part.data.byteOffset, part.data.byteLength)
      if (sink.patch) await sink.write(bytes)
      else held.push(bytes)
    },
    async end() {
      if (sink.patch && rows > 0) return sink.patch(0, header(type, rows, width))
      await sink.write(header(type, rows, width))
      for (const bytes of held) await sink.write(bytes)
    },
  }
}

/** Version 1.0 of the format: magic, version, length, a Python literal padded with spaces, a line end. */
function header(type: string, rows: number, width: number): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES, ' ')
  bytes.write('\x93NUMPY\x01\x00', 0, 'latin1')
  bytes.writeUInt16LE(HEADER_BYTES - 10, 8)
  bytes.write(`{'descr': '${type}', 'fortran_order': False, 'shape': (${rows}, ${width}), }`, 10, 'latin1')
  bytes.write('\n', HEADER_BYTES - 1)
  return bytes
}
