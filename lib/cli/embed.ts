import { extname } from 'node:path'

import { Option } from 'commander'
import type { Command } from 'commander'

import { EmbeddingEngine } from '../engine.ts'
import type { EngineOptions, Precision, StreamOptions, Task } from '../options.ts'
import { DTYPES, PRECISIONS, TASKS } from '../validate.ts'
import { UsageError, interrupt } from './exit.ts'
import { arrow } from './formats/arrow.ts'
import type { Format } from './formats/format.ts'
import { jsonl } from './formats/jsonl.ts'
import { npy } from './formats/npy.ts'
import { table } from './formats/table.ts'
import { inputTexts } from './inputs.ts'
import type { InputText } from './inputs.ts'
import { wholeNumber } from './parse.ts'
import { ProgressBar } from './progress-bar.ts'
import { FileSink, standardOutput } from './sink.ts'
import type { Sink } from './sink.ts'

const FORMATS: Record<string, Format> = { jsonl, npy, arrow, table }
const EXTENSIONS: Record<string, string> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.npy': 'npy',
  '.arrow': 'arrow',
  '.feather': 'arrow',
}

interface EmbedFlags {
  file?: string[]
  model?: string
  task?: Task
  prompt?: string | false
  dimensions?: number
  precision?: Precision
  truncate: boolean
  device?: string
  dtype?: EngineOptions['dtype']
  threads?: number
  format?: string
  json?: boolean
  output?: string
}

/** `embedding-engine embed` */
export function addEmbedCommand(program: Command): void {
  program
    .command('embed')
    .description('Embed texts: arguments, whole files, or the lines of standard input.')
    .argument('[texts...]', 'texts to embed')
    .option('-f, --file <path...>', 'files to embed, each as one text')
    .option('-m, --model <model>', 'folder, alias or hub id (default: $EMBEDDING_ENGINE_MODEL)')
    .addOption(new Option('-t, --task <task>', 'what the vectors are for').choices(TASKS))
    .option('--prompt <text>', 'put before each text in place of the model’s own prompt')
    .option('--no-prompt', 'put nothing before the texts')
    .option('-d, --dimensions <n>', 'cut the vectors (Matryoshka)', wholeNumber)
    .addOption(new Option('-p, --precision <format>', 'number format of the vectors').choices(PRECISIONS))
    .option('--no-truncate', 'fail on a text that is too long, in place of cutting it')
    .option('--device <device>', 'auto, cpu, cuda, cuda:1, cuda:0,1, … (default: $EMBEDDING_ENGINE_DEVICE, else auto)')
    .addOption(new Option('--dtype <dtype>', 'number format of the weights').choices(DTYPES))
    .option('--threads <n>', 'the most threads that compute', wholeNumber)
    .addOption(
      new Option(
        '--format <format>',
        'of the output (default: by the name of --output; a table on a terminal; else jsonl)',
      ).choices(Object.keys(FORMATS)),
    )
    .option('--json', 'the same as --format jsonl')
    .option('-o, --output <path>', 'write to a file in place of standard output')
    .action(runEmbed)
}

async function runEmbed(texts: string[], flags: EmbedFlags): Promise<void> {
  const format = chooseFormat(flags)
  const inputs = inputTexts(texts, flags.file ?? [])
  const bar = new ProgressBar()
  const { device, dtype, threads } = flags
  await using engine = new EmbeddingEngine({ device, dtype, threads, logger: bar.logger() })
  const options: StreamOptions = {
    model: flags.model,
    task: flags.task,
    // Commander makes the default of --no-prompt true.
    prompt: (flags.prompt as string | boolean | undefined) === true ? undefined : flags.prompt,
    dimensions: flags.dimensions,
    precision: flags.precision,
    truncate: flags.truncate,
    signal: interrupt,
    onProgress: bar.callback,
  }
  const sink: Sink = flags.output === undefined ? standardOutput : await FileSink.create(flags.output)
  try {
    const writer = format(sink)
    const pending: InputText[] = []
    for await (const part of engine.embedStream(textsOf(inputs, pending), options)) {
      bar.clear()
      await writer.write(part, pending.splice(0, part.embeddings.length))
    }
    await writer.end()
    await sink.commit()
  } catch (error) {
    await sink.abandon()
    throw error
  } finally {
    bar.clear()
  }
}

/** The texts alone, for the engine; what belongs to each waits in `pending` until its vector comes. */
async function* textsOf(inputs: AsyncIterable<InputText>, pending: InputText[]): AsyncGenerator<string> {
  for await (const input of inputs) {
    pending.push(input)
    yield input.text
  }
}

function chooseFormat({ format, json, output }: EmbedFlags): Format {
  if (json && format !== undefined && format !== 'jsonl')
    throw new UsageError(`--json and --format ${format} exclude each other.`)
  const name = json ? 'jsonl' : (format ?? EXTENSIONS[extname(output ?? '').toLowerCase()])
  if (name !== undefined) return FORMATS[name]!
  return output === undefined && process.stdout.isTTY ? table : jsonl
}
