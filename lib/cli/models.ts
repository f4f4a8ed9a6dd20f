import { Option } from 'commander'
import type { Command } from 'commander'

import { EmbeddingEngine } from '../engine.ts'
import { modelPath, removeModel } from '../hub-cache.ts'
import type { HubOptions } from '../hub-cache.ts'
import { listModels } from '../models.ts'
import type { CachedModel, ModelEntry } from '../models.ts'
import { EXIT, UsageError, interrupt } from './exit.ts'
import { ProgressBar } from './progress-bar.ts'
import { aligned, bytes } from './units.ts'

interface Flags {
  json?: boolean
  cacheDir?: string
  endpoint?: string
  offline?: boolean
  revision?: string
  include?: string[]
}

/** `embedding-engine models` */
export function addModelsCommand(program: Command): void {
  const models = program.command('models').description('The models of this package and of the hub cache.')
  models
    .command('list', { isDefault: true })
    .description('List the models that this package knows by name, and those in the hub cache.')
    .addOption(cacheDir())
    .option('--json', 'for programs')
    .action(runList)
  models
    .command('download')
    .description('Fetch a model into the hub cache, or the rest of it.')
    .argument('<model>', 'alias or hub id')
    .addOption(revision())
    .option('--include <glob...>', 'further files of the repository, such as "onnx/*"')
    .option('--endpoint <url>', 'address of the hub (default: $HF_ENDPOINT)')
    .option('--offline', 'use no network: only tell whether it is there')
    .addOption(cacheDir())
    .option('--json', 'for programs')
    .action(runDownload)
  models
    .command('remove')
    .description('Remove a model from the hub cache.')
    .argument('<model>', 'alias or hub id')
    .option('--revision <revision>', 'commit, branch or tag (default: all that are there)')
    .addOption(cacheDir())
    .option('--json', 'for programs')
    .action(runRemove)
  models
    .command('path')
    .description('Print the folder of a model in the hub cache; exit code 1 if it is not there.')
    .argument('<model>', 'alias, hub id or folder')
    .addOption(revision())
    .addOption(cacheDir())
    .option('--json', 'for programs')
    .action(runPath)
  models
    .command('verify')
    .description('Hash the files in the hub cache again; exit code 1 if one is wrong.')
    .argument('[model]', 'alias or hub id (default: all)')
    .option('--revision <revision>', 'commit, branch or tag (default: all that are there)')
    .addOption(cacheDir())
    .option('--json', 'for programs')
    .action(runVerify)
}

function revision(): Option {
  return new Option('--revision <revision>', 'commit, branch or tag (default: the pinned one, else main)')
}

function cacheDir(): Option {
  return new Option('--cache-dir <folder>', 'the hub cache (default: $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/…)')
}

function runList(flags: Flags): void {
  const entries = listModels(where(flags))
  if (flags.json) {
    printJson(entries)
    return
  }
  const rows = entries.map(({ id, aliases, license, dimensions, maxTokens, cached }) => [
    aliases.join(', '),
    id,
    number(dimensions),
    number(maxTokens),
    license?.name ?? '',
    cached ? onDisk(cached) : '–',
    cached?.path ?? '',
  ])
  print(aligned([['alias', 'model', 'dims', 'context', 'licence', 'on disk', 'path'], ...rows]))
  const notes = entries.flatMap(({ id, license }) =>
    license?.note ? [`${id}: ${license.name}. ${license.note} ${license.link ?? ''}`.trimEnd()] : [],
  )
  if (notes.length > 0) print(`\n${notes.join('\n')}\n`)
}

async function runDownload(model: string, flags: Flags): Promise<void> {
  const bar = new ProgressBar()
  await using engine = new EmbeddingEngine({ ...where(flags), logger: bar.logger({ info: true }) })
  // Where there is no terminal, one line a file tells that something is going on.
  const plain = (file: string): void => void process.stderr.write(`${file}\n`)
  try {
    const found = await engine.download(withRevision(model, flags), {
      include: flags.include,
      signal: interrupt,
      onProgress: bar.callback ?? ((event) => event.status === 'done' && plain(event.file)),
    })
    bar.clear()
    if (flags.json) return printJson(found)
    const came = found.downloadedBytes > 0 ? `${bytes(found.downloadedBytes)} fetched` : 'it was there already'
    process.stderr.write(`${found.id}: ${counted(found.files.length, 'file')}, ${bytes(found.bytes)}; ${came}\n`)
    print(`${found.path}\n`)
  } catch (error) {
    bar.clear()
    if (interrupt.aborted) process.stderr.write('What has come stays. Run the command again to go on from there.\n')
    throw error
  }
}

function runRemove(model: string, flags: Flags): void {
  const removed = removeModel(withRevision(model, flags), where(flags))
  if (flags.json) printJson(removed)
  else print(`${removed.id}: ${counted(removed.revisions.length, 'revision')} removed, ${bytes(removed.bytes)} freed\n`)
}

function runPath(model: string, flags: Flags): void {
  const found = modelPath(withRevision(model, flags), where(flags))
  if (flags.json) printJson(found)
  else print(`${found.path}\n`)
}

async function runVerify(model: string | undefined, flags: Flags): Promise<void> {
  const bar = new ProgressBar()
  await using engine = new EmbeddingEngine({ ...where(flags), offline: true })
  try {
    const found = await engine.verify(model === undefined ? undefined : withRevision(model, flags), {
      signal: interrupt,
      onProgress: bar.callback,
    })
    bar.clear()
    if (!found.ok) process.exitCode = EXIT.failed
    if (flags.json) return printJson(found)
    for (const { id, files, ok } of found.models) {
      print(`${ok ? '✓' : '✗'} ${id}: ${counted(files.length, 'file')}\n`)
      for (const { file, revision: commit, reason } of files.filter((item) => !item.ok)) {
        print(`    ${file} (${commit.slice(0, 7)}): ${reason}\n`)
      }
      if (!ok) print(`    Run: embedding-engine models remove ${id} && embedding-engine models download ${id}\n`)
    }
    print(`${found.ok ? 'All files are right' : 'Not all files are right'}: ${bytes(found.bytes)} hashed.\n`)
  } finally {
    bar.clear()
  }
}

function where({ cacheDir: folder, endpoint, offline }: Flags): HubOptions {
  return { cacheDir: folder, endpoint, offline }
}

function withRevision(model: string, { revision: wanted }: Flags): string {
  if (wanted === undefined) return model
  if (model.includes('@')) throw new UsageError(`--revision and the revision in ${model} exclude each other.`)
  const known: ModelEntry | undefined = listModels().find(({ aliases }) => aliases.includes(model))
  return `${known?.id ?? model}@${wanted}`
}

/** A download that was broken off takes room as well. */
function onDisk({ bytes: size, revisions }: CachedModel): string {
  return revisions.some(({ complete }) => complete) ? bytes(size) : `${bytes(size)}, not whole`
}

function number(value: number | null): string {
  return value === null ? '' : String(value)
}

/** A number with its noun. */
function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function print(text: string): void {
  process.stdout.write(text)
}

function printJson(value: unknown): void {
  print(`${JSON.stringify(value, undefined, 2)}\n`)
}
