import { resolve } from 'node:path'

import { callNative } from '../call.ts'
import { defaultEngine } from '../default-engine.ts'
import { EmbeddingEngine, internals } from '../engine.ts'
import { defaultModel } from '../environment.ts'
import { loadAddon } from '../native/addon.ts'
import type { CallOptions, EngineOptions } from '../options.ts'
import { checkEvaluateOptions, splitEngineOptions } from '../validate.ts'
import { toReport } from './report.ts'
import type { EvaluationReport } from './report.ts'

/**
 * Options of {@link evaluate}: one of `folder` and `dataset`, those of a call and those of an engine. Without any option
 * of an engine the default engine is shared.
 */
export interface EvaluateOptions
  extends
    EngineOptions,
    Pick<CallOptions, 'model' | 'dimensions' | 'truncate' | 'adapter' | 'space' | 'signal' | 'onProgress'> {
  /**
   * A folder of code. The first paragraph of a unit's documentation is the query, the unit without any documentation
   * its answer, among all units of the folder.
   * @defaultValue none
   * @example
   * ```ts
   * await evaluate({ folder: './src' })
   * ```
   */
  folder?: string
  /**
   * A folder in the layout of BEIR and CoIR: `corpus.jsonl` (`{ _id, title?, text }`), `queries.jsonl` (`{ _id, text }`)
   * and judgements in `qrels/<split>.tsv`, `qrels/<split>.jsonl` or `qrels.jsonl` (query-id, corpus-id, score).
   * @defaultValue none
   * @example
   * ```ts
   * await evaluate({ dataset: './cosqa', model: 'code' })
   * ```
   */
  dataset?: string
  /**
   * Which judgements of a dataset.
   * @defaultValue `'test'`
   * @example
   * ```ts
   * await evaluate({ dataset: './cosqa', split: 'dev' })
   * ```
   */
  split?: string
  /**
   * Globs of the files of a folder to take; `*` stays within a folder, `**` does not.
   * @defaultValue all
   * @example
   * ```ts
   * await evaluate({ folder: '.', include: ['src/**'] })
   * ```
   */
  include?: string[]
  /**
   * Globs of files to leave out.
   * @defaultValue none
   * @example
   * ```ts
   * await evaluate({ folder: '.', exclude: ['**\/*.test.ts'] })
   * ```
   */
  exclude?: string[]
  /**
   * How often the name of a unit stands before its code. The bundled model is made for 8; models that read sentences
   * may like fewer.
   * @defaultValue `8`
   * @example
   * ```ts
   * await evaluate({ folder: '.', model: 'code', nameRepeats: 1 })
   * ```
   */
  nameRepeats?: number
  /**
   * Of BM25 beside the model, where both are on the scale of their standard deviations.
   * @defaultValue `0.3`
   * @example
   * ```ts
   * await evaluate({ folder: '.', hybridWeight: 0.5 })
   * ```
   */
  hybridWeight?: number
  /**
   * Whether a folder is ranked a second time with the names of functions blanked: how much of a score is names.
   * @defaultValue `true`
   * @example
   * ```ts
   * await evaluate({ folder: '.', blankNames: false })
   * ```
   */
  blankNames?: boolean
  /**
   * Evaluates search itself: a copy of the folder without its documentation is indexed as `openIndex` does, and
   * searched. A hit is right if it covers the unit. Not with `nameRepeats`, `hybridWeight` and `blankNames`, which are
   * the index's own.
   * @defaultValue `false`
   * @example
   * ```ts
   * const { querySeconds } = await evaluate({ folder: '.', throughIndex: true })
   * ```
   */
  throughIndex?: boolean
}

/**
 * How well a model finds code: queries with known answers are ranked by chance, by BM25, by the model and by both. The
 * whole work is local; nothing is written but a temporary copy with `throughIndex`.
 *
 * Memory holds the vectors and word counts of all documents. The queries of a folder are its documentation, not
 * questions that people asked: compare models by it, not with figures of others.
 *
 * @throws EmbeddingError `INVALID_OPTION`; `INVALID_INPUT` with `details.file` and `details.line` for what is wrong with
 * a dataset, and where there is nothing to evaluate; those of the model
 * @example
 * ```ts
 * import { evaluate } from 'embedding-engine/train'
 *
 * const { text, rows } = await evaluate({ folder: './src' })
 * console.log(text)
 * ```
 */
export async function evaluate(options: EvaluateOptions): Promise<EvaluationReport> {
  checkEvaluateOptions('evaluate', options)
  const { engine: engineOptions, rest } = splitEngineOptions(options)
  const { signal, onProgress, model, dimensions, truncate, adapter, space, ...asked } = rest
  signal?.throwIfAborted()
  const own = Object.keys(engineOptions).length > 0 ? new EmbeddingEngine(engineOptions) : undefined
  try {
    const { native, logger } = internals(own ?? defaultEngine())
    const request = JSON.stringify({ model: model ?? defaultModel(), dimensions, truncate, adapter, space })
    const absolute = (path?: string): string | undefined => (path === undefined ? undefined : resolve(path))
    const work = JSON.stringify({ ...asked, folder: absolute(asked.folder), dataset: absolute(asked.dataset) })
    const { binding } = loadAddon()
    const json = await callNative({ signal, onProgress, logger }, (cancel, onEvent) =>
      binding.evaluate(native, request, work, cancel, onEvent),
    )
    return toReport(json)
  } finally {
    await own?.dispose()
  }
}
