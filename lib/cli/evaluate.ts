import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { InvalidArgumentError } from 'commander'
import type { Command } from 'commander'

import type { EngineOptions } from '../options.ts'
import { evaluate } from '../train/evaluate.ts'
import { interrupt } from './exit.ts'
import { wholeNumber } from './parse.ts'
import { ProgressBar } from './progress-bar.ts'

interface EvaluateFlags {
  model?: string
  split?: string
  include?: string[]
  exclude?: string[]
  nameRepeats?: number
  hybridWeight?: number
  blankNames: boolean
  throughIndex?: boolean
  dimensions?: number
  device?: string
  dtype?: EngineOptions['dtype']
  threads?: number
  json?: boolean
}

/** `embedding-engine evaluate` */
export function addEvaluateCommand(program: Command): void {
  program
    .command('evaluate')
    .description('Tell how well a model finds code: on a folder by its documentation, or on a dataset.')
    .argument('<folder>', 'a folder of code, or one with corpus.jsonl, queries.jsonl and qrels (BEIR, CoIR)')
    .option('-m, --model <model>', 'folder, alias or hub id (default: $EMBEDDING_ENGINE_MODEL)')
    .option('--split <name>', 'which judgements of a dataset (default: test)')
    .option('--include <glob...>', 'files of a folder of code to take')
    .option('--exclude <glob...>', 'files to leave out')
    .option('--name-repeats <n>', 'how often names stand before code (default: 8)', count)
    .option('--hybrid-weight <w>', 'of BM25 beside the model (default: 0.3)', weight)
    .option('--no-blank-names', 'not a second time with the names of functions blanked')
    .option('--through-index', 'evaluate search itself, through an index of a copy without documentation')
    .option('-d, --dimensions <n>', 'cut the vectors (Matryoshka)', wholeNumber)
    .option('--device <device>', 'auto, cpu, cuda, cuda:1, cuda:0,1, … (default: $EMBEDDING_ENGINE_DEVICE, else auto)')
    .option('--dtype <dtype>', 'number format of the weights')
    .option('--threads <n>', 'the most threads that compute', wholeNumber)
    .option('--json', 'for programs')
    .action(runEvaluate)
}

async function runEvaluate(folder: string, flags: EvaluateFlags): Promise<void> {
  const bar = new ProgressBar()
  const { json, blankNames, ...options } = flags
  const place = existsSync(join(folder, 'corpus.jsonl')) ? { dataset: folder } : { folder }
  try {
    const { text, ...report } = await evaluate({
      ...options,
      ...place,
      // Commander makes the default of --no-blank-names true.
      blankNames: blankNames ? undefined : false,
      logger: bar.logger(),
      signal: interrupt,
      onProgress: bar.callback,
    })
    bar.clear()
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : text)
  } finally {
    bar.clear()
  }
}

function count(value: string): number {
  return value === '0' ? 0 : wholeNumber(value)
}

function weight(value: string): number {
  const number = Number(value)
  if (value.trim() === '' || !Number.isFinite(number) || number < 0) {
    throw new InvalidArgumentError('It must be a number, 0 or more.')
  }
  return number
}
