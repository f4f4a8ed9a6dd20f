// Generated from train.ts by npm run types. Do not edit.
/// <reference lib="esnext.disposable" />
import { ModelInfo, EngineOptions, CallOptions } from 'embedding-engine';

/** A mean over queries, with the interval that holds it in 95 of 100 draws of as many queries (bootstrap). */
interface Estimate {
    value: number;
    low: number;
    high: number;
}
/**
 * How good rankings are, each figure from 0 to 1. Documents with equal scores count with the mean over all their orders.
 */
interface RankingMetrics {
    /** Discounted gain of the first ten, over that of the best order; the first figure to look at. */
    ndcg10: Estimate;
    /** One over the rank of the first answer, 0 beyond the tenth. */
    mrr10: Estimate;
    /** Share of the answers that stands first. */
    recall1: Estimate;
    /** Share of the answers among the first ten. */
    recall10: Estimate;
    /** Share of the answers among the first hundred. */
    recall100: Estimate;
}
/**
 * What ranked: chance; BM25 over the parts of names, of the documents as they stand (`bm25`) or as search embeds them
 * (`bm25-template`); the model; the model and BM25 (`hybrid`).
 */
type EvaluationSystem = 'random' | 'bm25' | 'bm25-template' | 'model' | 'hybrid';
/** How well something ranks. */
interface EvaluationRow {
    system: EvaluationSystem;
    /** Whether it saw the names of functions, or code in which they are blanked. */
    names: 'kept' | 'blanked';
    metrics: RankingMetrics;
    /** What it has over `bm25` with the same names, query by query. An interval with 0 in it says nothing. */
    gain: RankingMetrics;
}
/** What {@link evaluate} found. */
interface EvaluationReport {
    /** The folder. */
    name: string;
    queries: number;
    documents: number;
    /** Answers that are not among the documents: they count as not found. */
    missing: number;
    /** Whether there are fewer than 200 queries: too few to tell small differences. */
    tooFew: boolean;
    /** What is to be kept in mind. */
    notes: string[];
    /** What computed the vectors. */
    model: ModelInfo;
    /** The space of the vectors. */
    space: string;
    /** How often names stood before code; `null` for a dataset. */
    nameRepeats: number | null;
    /** Of BM25 beside the model. */
    hybridWeight: number;
    rows: EvaluationRow[];
    /** What indexing the folder took; with `throughIndex` alone. */
    updateSeconds?: number;
    /** What a query took on average; with `throughIndex` alone. */
    querySeconds?: number;
    /** All of this as a table for people. */
    text: string;
}

/**
 * Options of {@link evaluate}: one of `folder` and `dataset`, those of a call and those of an engine. Without any option
 * of an engine the default engine is shared.
 */
interface EvaluateOptions extends EngineOptions, Pick<CallOptions, 'model' | 'dimensions' | 'truncate' | 'adapter' | 'space' | 'signal' | 'onProgress'> {
    /**
     * A folder of code. The first paragraph of a unit's documentation is the query, the unit without any documentation
     * its answer, among all units of the folder.
     * @defaultValue none
     * @example
     * ```ts
     * await evaluate({ folder: './src' })
     * ```
     */
    folder?: string;
    /**
     * A folder in the layout of BEIR and CoIR: `corpus.jsonl` (`{ _id, title?, text }`), `queries.jsonl` (`{ _id, text }`)
     * and judgements in `qrels/<split>.tsv`, `qrels/<split>.jsonl` or `qrels.jsonl` (query-id, corpus-id, score).
     * @defaultValue none
     * @example
     * ```ts
     * await evaluate({ dataset: './cosqa', model: 'code' })
     * ```
     */
    dataset?: string;
    /**
     * Which judgements of a dataset.
     * @defaultValue `'test'`
     * @example
     * ```ts
     * await evaluate({ dataset: './cosqa', split: 'dev' })
     * ```
     */
    split?: string;
    /**
     * Globs of the files of a folder to take; `*` stays within a folder, `**` does not.
     * @defaultValue all
     * @example
     * ```ts
     * await evaluate({ folder: '.', include: ['src/**'] })
     * ```
     */
    include?: string[];
    /**
     * Globs of files to leave out.
     * @defaultValue none
     * @example
     * ```ts
     * await evaluate({ folder: '.', exclude: ['**\/*.test.ts'] })
     * ```
     */
    exclude?: string[];
    /**
     * How often the name of a unit stands before its code. The bundled model is made for 8; models that read sentences
     * may like fewer.
     * @defaultValue `8`
     * @example
     * ```ts
     * await evaluate({ folder: '.', model: 'code', nameRepeats: 1 })
     * ```
     */
    nameRepeats?: number;
    /**
     * Of BM25 beside the model, where both are on the scale of their standard deviations.
     * @defaultValue `0.3`
     * @example
     * ```ts
     * await evaluate({ folder: '.', hybridWeight: 0.5 })
     * ```
     */
    hybridWeight?: number;
    /**
     * Whether a folder is ranked a second time with the names of functions blanked: how much of a score is names.
     * @defaultValue `true`
     * @example
     * ```ts
     * await evaluate({ folder: '.', blankNames: false })
     * ```
     */
    blankNames?: boolean;
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
    throughIndex?: boolean;
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
declare function evaluate(options: EvaluateOptions): Promise<EvaluationReport>;

export { evaluate };
export type { Estimate, EvaluateOptions, EvaluationReport, EvaluationRow, EvaluationSystem, RankingMetrics };
