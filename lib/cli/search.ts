import { statSync } from 'node:fs'
import { createInterface } from 'node:readline'

import type { Command } from 'commander'

import { openIndex } from '../search-index.ts'
import type { QueryOptions, SearchHit, SearchIndex, UpdateReport } from '../search-index.ts'
import { EXIT, Interrupted, UsageError, interrupt, messageOf, unwatchInterrupt, watchInterrupt } from './exit.ts'
import { HitPrinter } from './hits.ts'
import { wholeNumber } from './parse.ts'
import { ProgressBar } from './progress-bar.ts'
import { standardOutput } from './sink.ts'
import { duration } from './units.ts'

interface SearchFlags {
  model?: string
  top?: number
  hybrid?: boolean
  language?: string[]
  path?: string[]
  include?: string[]
  exclude?: string[]
  store?: string
  device?: string
  threads?: number
  json?: boolean
}

/** `embedding-engine search` */
export function addSearchCommand(program: Command): void {
  program
    .command('search')
    .description(
      'Search a folder by meaning and by words. Brings its index up to date first. Without a query: a prompt on a ' +
        'terminal, else one query a line of standard input.',
    )
    .argument('[query]', 'what is looked for; a folder here means the folder')
    .argument('[folder]', 'where (default: the current folder)')
    .option('-m, --model <model>', 'folder, alias or hub id (default: $EMBEDDING_ENGINE_MODEL, else bundled)')
    .option('-n, --top <n>', 'how many hits at most (default: 10)', wholeNumber)
    .option('--hybrid', 'vectors and full text together (default)')
    .option('--no-hybrid', 'vectors alone; the score is the cosine')
    .option('-l, --language <name...>', 'only files of these languages')
    .option('-p, --path <glob...>', 'only files whose path matches')
    .option('--include <glob...>', 'files that are in the index (default: all)')
    .option('--exclude <glob...>', 'files that are not')
    .option('--store <file>', 'the index (default: one a folder, in $EMBEDDING_ENGINE_HOME)')
    .option('--device <device>', 'auto, cpu, cuda, cuda:1, cuda:0,1, … (default: $EMBEDDING_ENGINE_DEVICE, else auto)')
    .option('--threads <n>', 'the most threads that compute', wholeNumber)
    .option('--json', 'for programs: one JSON document, a line each for queries of standard input')
    .action(runSearch)
}

async function runSearch(first: string | undefined, second: string | undefined, flags: SearchFlags): Promise<void> {
  const { query, folder } = readArguments(first, second)
  const { model, store, include, exclude, device, threads } = flags
  const bar = new ProgressBar()
  const options = {
    model,
    store,
    include,
    exclude,
    device,
    threads,
    logger: bar.logger(),
  }
  await using index = await openIndex(folder, options)
  const begin = performance.now()
  let report: UpdateReport
  try {
    report = await index.update({ signal: interrupt, onProgress: bar.callback })
  } catch (error) {
    bar.clear()
    if (interrupt.aborted) process.stderr.write('What was stored stays. Run the command again to go on from there.\n')
    throw error
  }
  bar.clear()
  tell(report, (performance.now() - begin) / 1000)
  const search = new Search(index, report, folder, flags)
  // Awaited, because the index is closed when this returns.
  if (query !== undefined) await search.run(query, interrupt)
  else if (process.stdin.isTTY) await prompt(search)
  else await lines(search)
}

function readArguments(first: string | undefined, second: string | undefined): { query?: string; folder: string } {
  if (first === undefined) return { folder: '.' }
  if (second !== undefined) return { query: checked(first), folder: second }
  return isFolder(first) ? { folder: first } : { query: checked(first), folder: '.' }
}

function checked(query: string): string {
  if (query.trim() === '') throw new UsageError('The query is empty. Say what is looked for.')
  return query
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** What the update did, on standard error, unless that is nothing and nobody is there. */
function tell({ files, chunks, added, changed, removed, embedded, tokens }: UpdateReport, seconds: number): void {
  const changes = added + changed + removed
  if (changes === 0 && embedded === 0 && !process.stderr.isTTY) return
  const speed = embedded > 0 ? `, ${Math.round(tokens / seconds)} tokens/s` : ''
  const work = embedded > 0 ? `${embedded} embedded (${tokens} tokens)` : 'nothing to embed'
  const time = seconds < 10 ? `${seconds.toFixed(2)} s` : duration(seconds)
  process.stderr.write(`${files} files, ${chunks} chunks: ${changes} changed, ${work} in ${time}${speed}\n`)
}

/** Runs queries and prints what they find. */
class Search {
  readonly #index: SearchIndex
  readonly #report: UpdateReport
  readonly #flags: SearchFlags
  readonly #printer: HitPrinter

  constructor(index: SearchIndex, report: UpdateReport, folder: string, flags: SearchFlags) {
    this.#index = index
    this.#report = report
    this.#flags = flags
    this.#printer = new HitPrinter(folder)
  }

  async run(query: string, signal: AbortSignal, { oneLine = false } = {}): Promise<void> {
    const { top, hybrid, language, path, json } = this.#flags
    const options: QueryOptions = { top, hybrid, filter: { language, path }, signal }
    const hits = await this.#index.query(query, options)
    const print = json ? this.#document(query, hits, oneLine) : this.#printer.print(hits)
    await standardOutput.write(print)
  }

  #document(query: string, hits: SearchHit[], oneLine: boolean): string {
    const document = { query, space: this.#index.space, hits, update: this.#report }
    return `${JSON.stringify(document, undefined, oneLine ? undefined : 2)}\n`
  }
}

/** One query a line of standard input; empty lines are passed over. */
async function lines(search: Search): Promise<void> {
  const input = createInterface({ input: process.stdin, crlfDelay: Infinity })
  try {
    for await (const line of input) {
      interrupt.throwIfAborted()
      if (line.trim() !== '') await search.run(line, interrupt, { oneLine: true })
    }
  } finally {
    input.close()
    process.stdin.destroy()
  }
}

/**
 * A prompt in a loop. An empty line or Ctrl-D ends it; Ctrl-C ends the query that runs, else the loop.
 * A query that fails is told, and the next may be typed.
 */
async function prompt(search: Search): Promise<void> {
  // Ctrl-C is a key here: readline takes it before it becomes a signal.
  unwatchInterrupt()
  const input = createInterface({ input: process.stdin, output: process.stderr, prompt: 'search> ' })
  let running: AbortController | undefined
  input.on('SIGINT', () => {
    if (running) return running.abort(new Interrupted())
    process.exitCode = EXIT.interrupted
    input.close()
  })
  input.prompt()
  for await (const line of input) {
    if (line.trim() === '') break
    running = new AbortController()
    try {
      await search.run(line, running.signal)
    } catch (error) {
      process.stderr.write(error instanceof Interrupted ? '(interrupted)\n' : `${messageOf(error)}\n`)
    }
    running = undefined
    input.prompt()
  }
  input.close()
  process.stdin.destroy()
  watchInterrupt()
}
