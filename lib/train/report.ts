import type { ModelInfo } from '../results.ts'

/** A mean over queries, with the interval that holds it in 95 of 100 draws of as many queries (bootstrap). */
export interface Estimate {
  value: number
  low: number
  high: number
}

/**
 * How good rankings are, each figure from 0 to 1. Documents with equal scores count with the mean over all their orders.
 */
export interface RankingMetrics {
  /** Discounted gain of the first ten, over that of the best order; the first figure to look at. */
  ndcg10: Estimate
  /** One over the rank of the first answer, 0 beyond the tenth. */
  mrr10: Estimate
  /** Share of the answers that stands first. */
  recall1: Estimate
  /** Share of the answers among the first ten. */
  recall10: Estimate
  /** Share of the answers among the first hundred. */
  recall100: Estimate
}

/**
 * What ranked: chance; BM25 over the parts of names, of the documents as they stand (`bm25`) or as search embeds them
 * (`bm25-template`); the model; the model and BM25 (`hybrid`).
 */
export type EvaluationSystem = 'random' | 'bm25' | 'bm25-template' | 'model' | 'hybrid'

/** How well something ranks. */
export interface EvaluationRow {
  system: EvaluationSystem
  /** Whether it saw the names of functions, or code in which they are blanked. */
  names: 'kept' | 'blanked'
  metrics: RankingMetrics
  /** What it has over `bm25` with the same names, query by query. An interval with 0 in it says nothing. */
  gain: RankingMetrics
}

/** What {@link evaluate} found. */
export interface EvaluationReport {
  /** The folder. */
  name: string
  queries: number
  documents: number
  /** Answers that are not among the documents: they count as not found. */
  missing: number
  /** Whether there are fewer than 200 queries: too few to tell small differences. */
  tooFew: boolean
  /** What is to be kept in mind. */
  notes: string[]
  /** What computed the vectors. */
  model: ModelInfo
  /** The space of the vectors. */
  space: string
  /** How often names stood before code; `null` for a dataset. */
  nameRepeats: number | null
  /** Of BM25 beside the model. */
  hybridWeight: number
  rows: EvaluationRow[]
  /** What indexing the folder took; with `throughIndex` alone. */
  updateSeconds?: number
  /** What a query took on average; with `throughIndex` alone. */
  querySeconds?: number
  /** All of this as a table for people. */
  text: string
}

/** The report as the core gives it. */
interface NativeReport extends Omit<EvaluationReport, 'rows'> {
  sections: { rows: EvaluationRow[] }[]
  sweep: unknown
  groups: unknown
}

/** Reads the core's JSON: one folder has one section and no groups. */
export function toReport(json: string): EvaluationReport {
  const { sections, sweep: _sweep, groups: _groups, text, ...report } = JSON.parse(json) as NativeReport
  return { ...report, rows: sections[0]!.rows, text }
}
