import type { Command } from 'commander'

import { listModels } from '../models.ts'

/** `embedding-engine models` */
export function addModelsCommand(program: Command): void {
  const models = program.command('models').description('Models that this package knows.')
  models
    .command('list', { isDefault: true })
    .description('List the models that this package knows by name.')
    .option('--json', 'for programs')
    .action(runList)
}

async function runList(flags: { json?: boolean }): Promise<void> {
  const entries = await listModels()
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(entries, undefined, 2)}\n`)
    return
  }
  const rows = entries.map(({ id, aliases, license }) => [aliases.join(', '), id, license?.name ?? ''])
  for (const [alias, id, license] of aligned([['alias', 'model', 'licence'], ...rows])) {
    process.stdout.write(`${alias}  ${id}  ${license}`.trimEnd() + '\n')
  }
}

function aligned(rows: string[][]): string[][] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)))
}
