export { evaluate } from './lib/train/evaluate.ts'

export type { EvaluateOptions } from './lib/train/evaluate.ts'
export type { Estimate, EvaluationReport, EvaluationRow, EvaluationSystem, RankingMetrics } from './lib/train/report.ts'
