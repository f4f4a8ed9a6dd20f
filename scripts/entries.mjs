// What the package exports: each has a source at the root, generated types beside it, and a page of the reference.
/** `shares`: whether its types name those of the main entry in place of copies of them. */
export const ENTRIES = [
  { name: 'embedding-engine', source: 'index.ts', types: 'index.d.ts', page: 'docs/api.md', shares: false },
  { name: 'embedding-engine/train', source: 'train.ts', types: 'train.d.ts', page: 'docs/train.md', shares: true },
]
