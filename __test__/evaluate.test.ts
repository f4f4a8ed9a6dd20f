// evaluate: figures that are checked against the definitions, written down once more here.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import test from 'ava'
import type { ExecutionContext } from 'ava'
import { EmbeddingError, embedBatch } from 'embedding-engine'
import type { EmbeddingProgress } from 'embedding-engine'
import { evaluate } from 'embedding-engine/train'
import type { EvaluateOptions, EvaluationReport, EvaluationSystem, RankingMetrics } from 'embedding-engine/train'

import { temporary } from './helpers/hub/engine.ts'
import { model } from './helpers/models.ts'
import { ROOT, runCli } from './helpers/process.ts'

const MODEL = model('bert-mean')

/** A folder with the given files. */
function folderOf(t: ExecutionContext, files: Record<string, string>): string {
  const folder = temporary(t)
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return folder
}

const DOCUMENTS = [
  'red apples',
  'green pears and apples',
  'blue plums',
  'a yellow lemon',
  'red and blue seedless grapes',
]
const QUERIES = ['red apples', 'something blue', 'lemon juice']
/** By query: gain by document. */
const JUDGED: Record<number, number>[] = [{ 0: 2, 1: 1 }, { 2: 1, 4: 1 }, { 3: 1 }]

function dataset(): Record<string, string> {
  const lines = (rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('')
  const judged = JUDGED.flatMap((gains, query) =>
    Object.entries(gains).map(([document, gain]) => `q${query}\td${document}\t${gain}\n`),
  )
  return {
    'corpus.jsonl': lines(DOCUMENTS.map((text, i) => ({ _id: `d${i}`, title: '', text }))),
    'queries.jsonl': lines(QUERIES.map((text, i) => ({ _id: `q${i}`, text }))),
    'qrels/test.tsv': `query-id\tcorpus-id\tscore\n${judged.join('')}`,
  }
}

type Figures = Record<keyof RankingMetrics, number>

/** The figures of one ranking without ties. */
function figures(scores: number[], gains: Record<number, number>): Figures {
  const order = scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]!)
  const dcg = (list: number[]): number => list.slice(0, 10).reduce((sum, g, at) => sum + g / Math.log2(at + 2), 0)
  const found = order.map((document) => gains[document] ?? 0)
  const first = found.findIndex((gain) => gain > 0)
  const recall = (depth: number): number =>
    found.slice(0, depth).filter((gain) => gain > 0).length / Object.keys(gains).length
  return {
    ndcg10: dcg(found) / dcg(Object.values(gains).sort((a, b) => b - a)),
    mrr10: first >= 0 && first < 10 ? 1 / (first + 1) : 0,
    recall1: recall(1),
    recall10: recall(10),
    recall100: recall(100),
  }
}

function mean(all: Figures[]): Figures {
  const names = Object.keys(all[0]!) as (keyof Figures)[]
  return Object.fromEntries(
    names.map((name) => [name, all.reduce((sum, one) => sum + one[name] / all.length, 0)]),
  ) as Figures
}

function rowOf(report: EvaluationReport, system: EvaluationSystem, names = 'kept'): EvaluationReport['rows'][number] {
  return report.rows.find((row) => row.system === system && row.names === names)!
}

function assertFigures(
  t: ExecutionContext,
  report: EvaluationReport,
  system: EvaluationSystem,
  expected: Figures,
): void {
  const { metrics } = rowOf(report, system)
  for (const [name, value] of Object.entries(expected)) {
    const { value: actual, low, high } = metrics[name as keyof Figures]
    t.true(Math.abs(actual - value) < 1e-9, `${system} ${name}: ${actual}, not ${value}`)
    t.true(low <= actual && actual <= high, `${system} ${name}: ${actual} in ${low} to ${high}`)
  }
}

const WORDS = /[a-z]+/g

/** BM25 as Lucene has it. */
function bm25(query: string): number[] {
  const documents = DOCUMENTS.map((text) => text.match(WORDS)!)
  const length = documents.reduce((sum, words) => sum + words.length, 0) / documents.length
  return documents.map((words) =>
    query.match(WORDS)!.reduce((sum, term) => {
      const count = words.filter((word) => word === term).length
      const withTerm = documents.filter((other) => other.includes(term)).length
      const rarity = Math.log(1 + (documents.length - withTerm + 0.5) / (withTerm + 0.5))
      return sum + (rarity * count) / (count + 1.2 * (1 - 0.75 + (0.75 * words.length) / length))
    }, 0),
  )
}

function zScores(values: number[]): number[] {
  const average = values.reduce((sum, value) => sum + value, 0) / values.length
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / values.length)
  return values.map((value) => (deviation < 1e-12 ? 0 : (value - average) / deviation))
}

test('the figures of a dataset are those of the definitions', async (t) => {
  const report = await evaluate({ dataset: folderOf(t, dataset()), model: MODEL, hybridWeight: 0.7 })
  const documents = (await embedBatch(DOCUMENTS, { model: MODEL })).embeddings
  const queries = (await embedBatch(QUERIES, { model: MODEL, task: 'query' })).embeddings
  const cosines = queries.map((query) => documents.map((row) => row.reduce((sum, x, i) => sum + x * query[i]!, 0)))
  assertFigures(t, report, 'model', mean(cosines.map((scores, i) => figures(scores, JUDGED[i]!))))
  const fused = cosines.map((scores, i) => {
    const words = zScores(bm25(QUERIES[i]!))
    return zScores(scores).map((z, at) => z + 0.7 * words[at]!)
  })
  assertFigures(t, report, 'hybrid', mean(fused.map((scores, i) => figures(scores, JUDGED[i]!))))

  // By hand: "red apples" finds d0, then d1, then the longer d4; "blue" finds d2, then d4; "lemon" finds d3.
  assertFigures(t, report, 'bm25', mean(QUERIES.map((query, i) => figures(tieless(bm25(query)), JUDGED[i]!))))
  const chance = [1, 2, 3, 4, 5].reduce((sum, rank) => sum + 1 / Math.log2(rank + 1), 0) / 5
  const ideals = [2 + 1 / Math.log2(3), 1 + 1 / Math.log2(3), 1]
  const expected = ideals.reduce((sum, ideal, i) => sum + ([3, 2, 1][i]! * chance) / ideal / 3, 0)
  t.true(Math.abs(rowOf(report, 'random').metrics.ndcg10.value - expected) < 1e-9)
  t.is(rowOf(report, 'random').metrics.recall10.value, 1)

  const { gain, metrics } = rowOf(report, 'model')
  t.true(Math.abs(gain.ndcg10.value - (metrics.ndcg10.value - rowOf(report, 'bm25').metrics.ndcg10.value)) < 1e-12)
  t.deepEqual([report.queries, report.documents, report.missing, report.tooFew], [3, 5, 0, true])
  t.regex(report.notes[0]!, /Too few to tell: 3 queries/)
  t.deepEqual([report.model.id, report.nameRepeats, report.hybridWeight], [MODEL, null, Math.fround(0.7)])
  t.deepEqual(
    report.rows.map(({ system, names }) => [system, names]),
    [
      ['random', 'kept'],
      ['bm25', 'kept'],
      ['model', 'kept'],
      ['hybrid', 'kept'],
    ],
  )
})

/** Zeros come after all answers here, so that their order has no say. */
function tieless(scores: number[]): number[] {
  return scores.map((score, i) => score - i * 1e-9)
}

const PYTHON = `
def read_lines(path, encoding):
    """Reads the lines of a file without their ends."""
    with open(path, encoding=encoding) as file:
        found = [line.strip() for line in file]
    return found + [] + found


def total_price(items, tax):
    """What a list of items costs, with the tax.

    More about it.
    """
    net = sum(item.price * item.count for item in items)
    return net * (1 + tax) + net * 0


def undocumented(a, b):
    return a + b
`

test('a folder of code is its own test', async (t) => {
  const folder = folderOf(t, { 'src/a.py': PYTHON, 'notes.txt': 'Reads the lines of a file without their ends.' })
  const report = await evaluate({ folder, model: MODEL, nameRepeats: 2 })
  t.deepEqual([report.queries, report.documents, report.nameRepeats], [2, 3, 2])
  t.deepEqual(
    report.rows.map(({ system, names }) => `${system} ${names}`),
    ['kept', 'blanked'].flatMap((names) =>
      ['random', 'bm25', 'bm25-template', 'model', 'hybrid'].map((system) => `${system} ${names}`),
    ),
  )
  // "Reads the lines of a file": lines, read and file stand in the code, and the names as well.
  t.is(rowOf(report, 'bm25').metrics.recall1.value, 1)
  t.true(rowOf(report, 'bm25', 'blanked').metrics.ndcg10.value <= 1)
  t.regex(report.text, /^model \+ BM25, names blanked .*\d\.\d{3} \[/m)
  const without = await evaluate({ folder, model: MODEL, blankNames: false, include: ['src/**'], threads: 1 })
  t.is(without.rows.length, 5)
  t.is(without.nameRepeats, 8)
})

test('search itself is evaluated through an index of its own', async (t) => {
  const home = temporary(t)
  const report = await evaluate({ folder: folderOf(t, { 'a.py': PYTHON }), model: MODEL, throughIndex: true, home })
  t.deepEqual([report.queries, report.documents, report.model.id], [2, 3, MODEL])
  t.true(report.updateSeconds! > 0 && report.querySeconds! > 0)
  t.is(rowOf(report, 'hybrid').metrics.recall10.value, 1)
  t.is(rowOf(report, 'random').metrics.recall1.value, 1 / 3)
  // The engine keeps what it knows of models' files.
  t.deepEqual(
    readdirSync(home).filter((name) => name !== 'digests.json'),
    [],
    'nothing stays',
  )
})

test('what is wrong with options', async (t) => {
  const folder = folderOf(t, dataset())
  for (const [options, option] of [
    [{}, 'folder'],
    [{ folder, dataset: folder }, 'folder'],
    [{ folder, split: 'dev' }, 'split'],
    [{ dataset: folder, nameRepeats: 3 }, 'nameRepeats'],
    [{ dataset: folder, throughIndex: true }, 'throughIndex'],
    [{ folder, throughIndex: true, hybridWeight: 1 }, 'hybridWeight'],
    [{ folder, hybridWeight: -1 }, 'hybridWeight'],
    [{ folder, model: 'auto' }, 'model'],
    [{ folder, precision: 'int8' }, 'precision'],
    [{ dataset: folder, split: '../x' }, 'split'],
    [{ folder, include: ['['], model: MODEL }, 'include'],
  ] as [EvaluateOptions, string][]) {
    const error = await t.throwsAsync(evaluate(options), { instanceOf: EmbeddingError }, JSON.stringify(options))
    t.is(error!.code, 'INVALID_OPTION', error!.message)
    t.is(error!.details.option, option, error!.message)
  }
  await t.throwsAsync(evaluate(undefined as unknown as EvaluateOptions), { code: 'INVALID_INPUT' })
  await t.throwsAsync(evaluate({ folder: temporary(t), model: MODEL }), { code: 'INVALID_INPUT', message: /no code/ })
})

test('what is wrong with a dataset is told with file and line', async (t) => {
  const folder = folderOf(t, { ...dataset(), 'qrels/test.tsv': 'query-id\tcorpus-id\tscore\nq0\td0\t1\nq7\td0\t1\n' })
  const error = await t.throwsAsync(evaluate({ dataset: folder, model: MODEL }), { instanceOf: EmbeddingError })
  t.is(error!.code, 'INVALID_INPUT')
  t.deepEqual([error!.details.file, error!.details.line], [join(folder, 'qrels/test.tsv'), 3])
  t.regex(error!.message, /no query q7/)
})

test('progress to the end, and an abort', async (t) => {
  const data = folderOf(t, dataset())
  const told: EmbeddingProgress[] = []
  await evaluate({ dataset: data, model: MODEL, onProgress: (event) => told.push(event) })
  const last = told.findLast(({ status }) => status === 'embedding')
  t.like(last, { done: 8, total: 8 })
  const reason = new Error('enough')
  await t.throwsAsync(evaluate({ dataset: data, model: MODEL, signal: AbortSignal.abort(reason) }), { is: reason })
  const controller = new AbortController()
  const onProgress = (): void => controller.abort(reason)
  const running = evaluate({ dataset: data, model: MODEL, threads: 1, onProgress, signal: controller.signal })
  await t.throwsAsync(running, { is: reason })
})

test('the command line', async (t) => {
  const folder = folderOf(t, dataset())
  const table = await runCli(['evaluate', folder, '--model', MODEL])
  t.is(table.code, 0, table.stderr)
  t.regex(table.stdout, /3 queries, 5 documents\n/)
  t.regex(table.stdout, /Too few to tell/)
  t.regex(table.stdout, /^model \+ BM25 +\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]/m)
  const json = await runCli(['evaluate', folder, '--model', MODEL, '--json', '--hybrid-weight', '0.5'])
  t.is((JSON.parse(json.stdout) as EvaluationReport).hybridWeight, 0.5)
  const code = folderOf(t, { 'a.py': PYTHON })
  const index = await runCli(['evaluate', code, '--model', MODEL, '--through-index', '--json'])
  t.is((JSON.parse(index.stdout) as EvaluationReport).queries, 2, index.stderr)
  t.is((await runCli(['evaluate'])).code, 2)
  t.is((await runCli(['evaluate', folder, '--hybrid-weight', 'much'])).code, 2)
  t.is((await runCli(['evaluate', folder, '--name-repeats', '3'])).code, 2)
  t.is((await runCli(['evaluate', join(folder, 'none'), '--model', MODEL])).code, 1)
})

test('the bundled model finds our own code better than BM25, and both find it better than each', async (t) => {
  for (const throughIndex of [false, true]) {
    const report = await evaluate({
      folder: join(ROOT, 'crates'),
      home: temporary(t),
      throughIndex: throughIndex || undefined,
      blankNames: throughIndex ? undefined : false,
    })
    const ndcg = (system: EvaluationSystem): number => rowOf(report, system).metrics.ndcg10.value
    const [bm25, own, hybrid] = [ndcg('bm25'), ndcg('model'), ndcg('hybrid')]
    t.log(`${report.queries} queries, BM25 ${bm25.toFixed(3)}, model ${own.toFixed(3)}, both ${hybrid.toFixed(3)}`)
    t.true(report.queries > 500)
    // 1.47 and 1.64 times when this was written; it moves with our sources.
    t.true(own > 1.25 * bm25, `${own} and ${bm25}`)
    t.true(hybrid > Math.max(own, bm25), `${hybrid}, ${own} and ${bm25}`)
  }
})
