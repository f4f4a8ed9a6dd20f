// Which licences of packages are allowed, by name: those that let anybody use the code for anything.

const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'PSF-2.0',
  'Python',
  'Python-2.0',
  'Unlicense',
  'Zlib',
])

/** Python's classifiers and the free words of older metadata, as SPDX names them. */
const NAMES = new Map(
  Object.entries({
    'apache software license': 'Apache-2.0',
    'apache 2.0': 'Apache-2.0',
    'apache license 2.0': 'Apache-2.0',
    'apache license, version 2.0': 'Apache-2.0',
    'apache-2.0': 'Apache-2.0',
    'apache license version 2.0': 'Apache-2.0',
    'apache 2.0 license': 'Apache-2.0',
    'bsd license': 'BSD',
    'bsd-3-clause': 'BSD-3-Clause',
    'bsd 3-clause': 'BSD-3-Clause',
    bsd: 'BSD',
    'new bsd': 'BSD',
    'isc license (iscl)': 'ISC',
    'mit license': 'MIT',
    mit: 'MIT',
    'the unlicense (unlicense)': 'Unlicense',
    'python software foundation license': 'PSF-2.0',
    'zlib/libpng license': 'Zlib',
  }),
)

/**
 * Whether an SPDX expression allows the use: of an `OR` one side must be allowed, of an `AND` both. Old crates write
 * `/` for `OR`. Exceptions (`WITH`) only add permissions.
 */
export function isAllowed(expression) {
  const words = expression.replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? []
  let at = 0
  const either = () => {
    let allowed = both()
    while (words[at]?.toUpperCase() === 'OR') {
      at += 1
      allowed = both() || allowed
    }
    return allowed
  }
  const both = () => {
    let allowed = one()
    while (words[at]?.toUpperCase() === 'AND') {
      at += 1
      allowed = one() && allowed
    }
    return allowed
  }
  const one = () => {
    const word = words[at]
    at += 1
    if (word === '(') {
      const allowed = either()
      return words[at++] === ')' && allowed
    }
    if (words[at]?.toUpperCase() === 'WITH') at += 2
    return ALLOWED.has(word)
  }
  return words.length > 0 && either() && at === words.length
}

/** Version and licence that the METADATA of a Python package names; the licence is '' where it cannot be told. */
export function ofPythonMetadata(text) {
  const head = text.split(/\r?\n\r?\n/, 1)[0]
  const field = (name) => [...head.matchAll(new RegExp(`^${name}: (.*)$`, 'gm'))].map(([, value]) => value.trim())
  const version = field('Version')[0] ?? ''
  const expression = field('License-Expression')[0]
  if (expression) return { version, license: expression }
  const classifiers = field('Classifier')
    .filter((value) => value.startsWith('License :: '))
    .map((value) => value.split(' :: ').at(-1))
    .filter((value) => value !== 'OSI Approved')
  const named = classifiers.length > 0 ? classifiers : field('License')
  const license = named.map((name) => NAMES.get(name.toLowerCase()) ?? name.replaceAll(/\s+/g, '-'))
  return { version, license: [...new Set(license)].join(' AND ') }
}
