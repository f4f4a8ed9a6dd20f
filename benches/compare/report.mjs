// What is printed.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

function git(...args) {
  try {
    return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/** Where and when: what a number is worth nothing without. */
export function surroundings() {
  const [{ model }] = cpus()
  return {
    date: new Date().toISOString(),
    commit: git('describe', '--always', '--dirty'),
    cpu: model.trim(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    load: loadavg()[0],
  }
}

/** The shape of a model as its config tells it. */
export function shapeOf(folder) {
  const file = join(folder, 'config.json')
  if (!existsSync(file)) return basename(folder)
  const config = JSON.parse(readFileSync(file, 'utf8'))
  const heads = [config.num_attention_heads, config.num_key_value_heads].filter(Boolean).join('/')
  return (
    `${config.model_type}, ${config.num_hidden_layers} layers, ${config.hidden_size} wide, ${heads} heads, ` +
    `MLP ${config.intermediate_size}, vocabulary of ${config.vocab_size}`
  )
}

const fixed = (value, digits) => (value === undefined ? '' : value.toFixed(digits))

/** Lines of cells under each other; the first two columns are words. */
export function table(head, rows) {
  const widths = head.map((cell, i) => Math.max(...[head, ...rows].map((row) => row[i].length)))
  const line = (row) =>
    `| ${row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => (i < 2 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

const HEAD = [
  'engine',
  'precision',
  'batch',
  'tokens',
  'wall ms',
  'tok/s',
  'tok/CPU s',
  'f32/it',
  'bf16/it',
  'int8/it',
  'least cosine',
]

/** The table of one set of texts. With one thread CPU time is the truer; with several it counts waiting too. */
export function setTable({ rows, tokens, threads }) {
  const ratios = (row) => (threads === 1 ? row.ratiosCpu : row.ratiosWall) ?? {}
  const cells = rows.map((row) => [
    row.engine,
    row.precision,
    row.error ? '' : `${row.batchSize ?? ''}`,
    row.error ? row.error.kind : `${tokens}`,
    fixed(row.wallMs, 1),
    fixed(row.tokensPerSecond, 0),
    fixed(row.tokensPerCpuSecond, 0),
    ...['f32', 'bf16', 'int8'].map((own) => (row.isOurs ? '' : fixed(ratios(row)[own], 2))),
    row.isReference ? 'reference' : fixed(row.leastCosine, 6),
  ])
  return table(HEAD, cells)
}

/** All of one model, as text. */
export function modelReport({
  model,
  shape,
  threads,
  rounds,
  before,
  after,
  versions,
  notes,
  reference,
  sets,
  errors,
}) {
  const lines = [
    `# ${basename(model)}: ${shape}`,
    `${before.cpu}, ${before.cores} cores, ${before.memoryGiB} GiB, ${before.system}; ${threads} ${threads === 1 ? 'thread' : 'threads'} each`,
    `${before.date}, commit ${before.commit ?? 'unknown'}, medians of ${rounds} rounds, engines by turns`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    ...notes,
    `Load average ${before.load.toFixed(1)} before, ${after.load.toFixed(1)} after.`,
  ]
  // The measured process itself accounts for up to `threads`.
  const others = Math.max(before.load, after.load - threads)
  if (others > 0.5) lines.push('Other jobs ran on this machine: wall times say little, compare tok/CPU s.')
  for (const set of sets) {
    const each = set.shortest === set.longest ? set.longest : `${set.shortest} to ${set.longest}`
    lines.push('', `## ${set.name}: ${set.texts} × ${each} tokens, ${set.tokens} in all`, setTable({ ...set, threads }))
    for (const { engine, precision, tried } of set.rows) {
      const costs = Object.entries(tried ?? {}).map(([size, cpu]) => `${size}: ${cpu.toFixed(0)}`)
      if (costs.length > 0) lines.push(`${engine} ${precision}, CPU ms by batch size: ${costs.join(', ')}`)
    }
    lines.push(...set.warnings)
  }
  const time = threads === 1 ? 'CPU time' : 'wall time'
  lines.push(
    '',
    `f32/it, bf16/it, int8/it: speed of embedding-engine in that precision divided by that engine's, by ${time}. ` +
      `Least cosine: against ${reference}.`,
  )
  for (const { engine, precision, error } of errors) {
    lines.push(
      `${engine} ${precision}: ${error.kind}: ${error.message}${error.install ? `; to have it: ${error.install}` : ''}`,
    )
  }
  return lines.join('\n')
}
