import type { Command } from 'commander'

import { listModels } from '../models.ts'

/** `embedding-engine models` */
export function addModelsCommand(program: Command): void {
  const models = program.command('models').description('Models that this package knows.')
  models
    .command('list', { isDefault: true })
    .description('List the models that this package knows by name, and those in the hub cache.')
    .option('--json', 'for programs')
    .action(runList)
}

async function runList(flags: { json?: boolean }): Promise<void> {
  const entries = listModels()
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(entries, undefined, 2)}\n`)
    return
  }
  const rows = entries.map(({ id, aliases, license, dimensions, cached }) => [
    aliases.join(', '),
    id,
    dimensions === null ? '' : String(dimensions),
    license?.name ?? '',
    cached ? `${(cached.bytes / 1e9).toFixed(2)} GB` : 'no',
  ])
  for (const row of aligned([['alias', 'model', 'dims', 'licence', 'in the cache'], ...rows])) {
    process.stdout.write(`${row.join('  ').trimEnd()}\n`)
  }
}

function aligned(rows: string[][]): string[][] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)))
}
