import type { StreamPart } from '../../results.ts'
import type { InputText } from '../inputs.ts'
import { flatbuffer, i16, i32, i64, string, structs, table, tables, u8 } from './flatbuffer.ts'
import type { Fields, Value } from './flatbuffer.ts'
import type { Format } from './format.ts'

// Numbers of Arrow's format definition (Schema.fbs, Message.fbs, File.fbs).
const VERSION_5 = i16(4)
const HEADER = { schema: 1, recordBatch: 3 } as const
const TYPE = { int: 2, float: 3, utf8: 5, bool: 6, fixedSizeList: 16 } as const
const SINGLE = i16(1)
const MAGIC = Buffer.from('ARROW1\0\0')
const END_OF_STREAM = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])

/**
 * Arrow's IPC file format ("Feather 2"), a record batch for each part: text, file, tokens, truncated, and the
 * vector as a fixed-size list. The model and the space are in the schema's metadata. Written by hand, because
 * apache-arrow weighs more than this whole package.
 */
export const arrow: Format = (sink) => {
  let schema: Fields | undefined
  let position = 0
  const blocks: [kind: 'i32' | 'i64', value: number][][] = []
  const write = async (bytes: Uint8Array): Promise<void> => {
    await sink.write(bytes)
    position += bytes.length
  }
  const message = async (header: Value, type: number, body: Uint8Array[]): Promise<void> => {
    const bodyLength = body.reduce((sum, part) => sum + part.length, 0)
    const metadata = flatbuffer([VERSION_5, u8(type), header, i64(bodyLength)])
    const prefix = Buffer.alloc(8, 0xff)
    prefix.writeInt32LE(metadata.length, 4)
    if (type === HEADER.recordBatch) {
      blocks.push([
        ['i64', position],
        ['i32', 8 + metadata.length],
        ['i32', 0],
        ['i64', bodyLength],
      ])
    }
    await write(prefix)
    await write(metadata)
    for (const part of body) await write(part)
  }
  const start = async (part?: StreamPart): Promise<Fields> => {
    const fields = schemaOf(part)
    await write(MAGIC)
    await message({ kind: 'table', fields }, HEADER.schema, [])
    return fields
  }
  return {
    async write(part, inputs) {
      schema ??= await start(part)
      const { header, body } = recordBatch(part, inputs)
      await message(header, HEADER.recordBatch, body)
    },
    async end() {
      schema ??= await start()
      await write(END_OF_STREAM)
      const footer = flatbuffer([VERSION_5, { kind: 'table', fields: schema }, structs(24, []), structs(24, blocks)])
      const length = Buffer.alloc(4)
      length.writeInt32LE(footer.length)
      await write(footer)
      await write(length)
      await write(MAGIC.subarray(0, 6))
    },
  }
}

function schemaOf(part: StreamPart | undefined): Fields {
  const width = part ? part.data.length / part.embeddings.length : 0
  const int = (bits: number, signed: boolean): [number, Fields] => [TYPE.int, [i32(bits), u8(signed ? 1 : 0)]]
  const number: [number, Fields] =
    part?.data instanceof Int8Array
      ? int(8, true)
      : part?.data instanceof Uint8Array
        ? int(8, false)
        : [TYPE.float, [SINGLE]]
  const metadata = part
    ? [
        [string('space'), string(part.space)],
        [string('model'), string(JSON.stringify(part.model))],
      ]
    : []
  return [
    i16(0),
    tables([
      field('text', true, [TYPE.utf8, []]),
      field('file', true, [TYPE.utf8, []]),
      field('tokens', false, int(32, false)),
      field('truncated', false, [TYPE.bool, []]),
      field('embedding', false, [TYPE.fixedSizeList, [i32(width)]], [field('item', false, number)]),
    ]),
    tables(metadata),
  ]
}

function field(name: string, nullable: boolean, [type, members]: [number, Fields], children: Fields[] = []): Fields {
  return [string(name), u8(nullable ? 1 : 0), u8(type), table(...members), undefined, tables(children)]
}

/** One part as columns. */
function recordBatch(part: StreamPart, inputs: readonly InputText[]): { header: Value; body: Uint8Array[] } {
  const rows = inputs.length
  const nodes: [kind: 'i64', value: number][][] = []
  const buffers: [kind: 'i64', value: number][][] = []
  const body: Uint8Array[] = []
  let offset = 0
  const node = (length: number, nulls: number): void =>
    void nodes.push([
      ['i64', length],
      ['i64', nulls],
    ])
  const buffer = (bytes: Uint8Array): void => {
    buffers.push([
      ['i64', offset],
      ['i64', bytes.length],
    ])
    const padding = new Uint8Array((8 - (bytes.length % 8)) % 8)
    body.push(bytes, padding)
    offset += bytes.length + padding.length
  }
  const strings = (values: (string | undefined)[]): void => {
    node(rows, values.filter((value) => value === undefined).length)
    buffer(bitmap(values.map((value) => value !== undefined)))
    const encoded = values.map((value) => Buffer.from(value ?? ''))
    const ends = new Int32Array(rows + 1)
    for (let i = 0; i < rows; i++) ends[i + 1] = ends[i]! + encoded[i]!.length
    buffer(bytesOf(ends))
    buffer(Buffer.concat(encoded))
  }
  const withoutNulls = (length: number): void => {
    node(length, 0)
    buffer(new Uint8Array(0))
  }

  strings(inputs.map(({ text, file }) => (file === undefined ? text : undefined)))
  strings(inputs.map(({ file }) => file))
  withoutNulls(rows)
  buffer(bytesOf(part.usage.tokensPerText))
  withoutNulls(rows)
  buffer(bitmap(part.truncated))
  withoutNulls(rows)
  withoutNulls(part.data.length)
  buffer(bytesOf(part.data))
  return { header: table(i64(rows), structs(16, nodes), structs(16, buffers)), body }
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

/** Bits, the first in the lowest place. */
function bitmap(values: readonly boolean[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(values.length / 8))
  for (const [i, value] of values.entries()) if (value) bytes[i >> 3]! |= 1 << (i & 7)
  return bytes
}
