/**
 * A writer for the few FlatBuffers shapes that Arrow's metadata needs, front to back: a table stands before what
 * it points to, so each offset is filled in when its target is written.
 */
export type Value =
  | { kind: 'u8' | 'i16' | 'i32' | 'i64'; value: number }
  | { kind: 'table'; fields: Fields }
  | { kind: 'string'; value: string }
  /** A vector of tables. */
  | { kind: 'tables'; items: Fields[] }
  /** A vector of structs, each made of scalars without gaps, aligned to 8 bytes. */
  | { kind: 'structs'; size: number; items: [kind: 'i32' | 'i64', value: number][][] }

/** The fields of a table by their slot; `undefined` leaves a slot at its default. */
export type Fields = (Value | undefined)[]

export const u8 = (value: number): Value => ({ kind: 'u8', value })
export const i16 = (value: number): Value => ({ kind: 'i16', value })
export const i32 = (value: number): Value => ({ kind: 'i32', value })
export const i64 = (value: number): Value => ({ kind: 'i64', value })
export const table = (...fields: Fields): Value => ({ kind: 'table', fields })
export const string = (value: string): Value => ({ kind: 'string', value })
export const tables = (items: Fields[]): Value => ({ kind: 'tables', items })
export const structs = (size: number, items: [kind: 'i32' | 'i64', value: number][][]): Value => ({
  kind: 'structs',
  size,
  items,
})

/** The bytes of a buffer whose root is the given table, padded to a multiple of 8. */
export function flatbuffer(root: Fields): Uint8Array {
  const writer = new Writer()
  writer.reserve(4)
  writer.table(0, root)
  writer.align(8)
  return writer.bytes()
}

const SIZES = { u8: 1, i16: 2, i32: 4, i64: 8 } as const

class Writer {
  #buffer = Buffer.alloc(1024)
  #length = 0

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  /** Appends zeros and returns where they begin. */
  reserve(size: number): number {
    const start = this.#length
    this.#length += size
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#buffer.length * 2))
      this.#buffer.copy(larger, 0, 0, start)
      this.#buffer = larger
    }
    return start
  }

  align(to: number): void {
    this.reserve((to - (this.#length % to)) % to)
  }

  /** Writes a table and all that it points to; `pointer` is where its offset goes. */
  table(pointer: number, fields: Fields): void {
    this.align(2)
    const vtable = this.reserve(4 + 2 * fields.length)
    this.align(8)
    const start = this.reserve(4)
    this.#point(pointer, start)
    this.#buffer.writeInt32LE(start - vtable, start)
    const children: [at: number, child: Value][] = []
    for (const [slot, field] of fields.entries()) {
      if (!field) continue
      const size = field.kind in SIZES ? SIZES[field.kind as keyof typeof SIZES] : 4
      this.align(size)
      const at = this.reserve(size)
      this.#buffer.writeUInt16LE(at - start, vtable + 4 + 2 * slot)
      if (field.kind in SIZES) this.#scalar(at, field.kind as keyof typeof SIZES, (field as { value: number }).value)
      else children.push([at, field])
    }
    this.#buffer.writeUInt16LE(4 + 2 * fields.length, vtable)
    this.#buffer.writeUInt16LE(this.#length - start, vtable + 2)
    for (const [at, child] of children) this.#child(at, child)
  }

  #child(pointer: number, child: Value): void {
    switch (child.kind) {
      case 'table':
        return this.table(pointer, child.fields)
      case 'string': {
        const bytes = Buffer.from(child.value)
        const start = this.#vector(pointer, bytes.length, 1, bytes.length + 1)
        bytes.copy(this.#buffer, start)
        return
      }
      case 'tables': {
        const start = this.#vector(pointer, child.items.length, 4, 4 * child.items.length)
        for (const [i, fields] of child.items.entries()) this.table(start + 4 * i, fields)
        return
      }
      case 'structs': {
        const start = this.#vector(pointer, child.items.length, 8, child.size * child.items.length)
        for (const [i, members] of child.items.entries()) {
          let at = start + i * child.size
          for (const [kind, value] of members) {
            this.#scalar(at, kind, value)
            at += SIZES[kind]
          }
        }
      }
    }
  }

  /** Starts a vector: its count, then room for its items, which begin aligned. Returns where they begin. */
  #vector(pointer: number, count: number, alignment: number, size: number): number {
    this.align(4)
    while ((this.#length + 4) % alignment !== 0) this.reserve(4)
    const start = this.reserve(4)
    this.#point(pointer, start)
    this.#buffer.writeUInt32LE(count, start)
    return this.reserve(size)
  }

  #point(pointer: number, target: number): void {
    this.#buffer.writeUInt32LE(target - pointer, pointer)
  }

  #scalar(at: number, kind: keyof typeof SIZES, value: number): void {
    if (kind === 'u8') this.#buffer.writeUInt8(value, at)
    else if (kind === 'i16') this.#buffer.writeInt16LE(value, at)
    else if (kind === 'i32') this.#buffer.writeInt32LE(value, at)
    else this.#buffer.writeBigInt64LE(BigInt(value), at)
  }
}
