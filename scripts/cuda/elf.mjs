// What a Linux library needs and carries, read by binutils.
import { output } from './steps.mjs'

/** The libraries that the loader looks for before this one is usable. */
export function neededLibraries(file) {
  return [...output('readelf', ['--dynamic', '--wide', file]).matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name)
}

/** Names that something else must define, without those of the C library, which carry a version. */
export function openSymbols(file) {
  return output('readelf', ['--dyn-syms', '--wide', file])
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[4] === 'GLOBAL' && columns[6] === 'UND' && !columns[7].includes('@'))
    .map((columns) => columns[7])
}

/** Names and sizes of the sections. */
export function sections(file) {
  const lines = output('readelf', ['--section-headers', '--wide', file]).matchAll(
    /^\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+[\da-f]+\s+[\da-f]+\s+([\da-f]+)/gm,
  )
  return [...lines].map(([, name, size]) => ({ name, size: Number.parseInt(size, 16) }))
}
