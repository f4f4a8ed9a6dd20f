import { EmbeddingError, invalidInput, invalidOption } from './errors.ts'
import type { CallOptions, EngineOptions, Precision, Task } from './options.ts'
import type { OpenIndexOptions, QueryOptions } from './search-index.ts'
import { nearest, show } from './show.ts'
import type { EvaluateOptions } from './train/evaluate.ts'

/** Every task. */
export const TASKS: readonly Task[] = ['document', 'query', 'similarity', 'classification', 'clustering']
/** Every precision. */
export const PRECISIONS: readonly Precision[] = ['float32', 'int8', 'uint8', 'binary', 'ubinary']
/** Every kind of device. */
const DEVICE_KINDS = ['cpu', 'cuda', 'tensorrt', 'migraphx', 'directml', 'coreml', 'openvino', 'metal'] as const
/** There is one CPU, and `auto` chooses by itself: only the others have an index, and only `cuda` several. */
const DEVICE = new RegExp(
  `^(auto|cpu|cuda:(\\*|\\d{1,3}(,\\d{1,3})+)|(${DEVICE_KINDS.filter((kind) => kind !== 'cpu').join('|')})(:\\d{1,3})?)$`,
)
/** Every number format of weights. */
export const DTYPES = ['auto', 'float32', 'bfloat16', 'float16', 'int8'] as const
const POOLINGS = ['lasttoken', 'cls', 'mean', 'max', 'mean_sqrt_len', 'weighted_mean']
const BACKENDS = ['candle', 'onnx']

/** What an option takes: in words for the message, and as a test. */
interface Rule {
  expected: string
  allows(value: unknown): boolean
}

const boolean: Rule = { expected: 'true or false', allows: (value) => typeof value === 'boolean' }
const filled: Rule = {
  expected: 'a string that is not empty',
  allows: (value) => typeof value === 'string' && value.trim() !== '',
}
const aFunction: Rule = { expected: 'a function', allows: (value) => typeof value === 'function' }
const positive: Rule = { expected: 'a whole number above 0', allows: (value) => isWhole(value) && value > 0 }
const notNegative: Rule = { expected: 'a whole number, 0 or more', allows: (value) => isWhole(value) && value >= 0 }

function oneOf(values: readonly string[]): Rule {
  return {
    expected: `one of ${values.map((value) => `'${value}'`).join(', ')}`,
    allows: (value) => typeof value === 'string' && values.includes(value),
  }
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

type Rules<T> = Record<keyof Required<T>, Rule>

const callRules: Rules<CallOptions> = {
  model: filled,
  task: oneOf(TASKS),
  prompt: { expected: 'a string, or false for none', allows: (value) => typeof value === 'string' || value === false },
  dimensions: positive,
  normalize: boolean,
  precision: oneOf(PRECISIONS),
  truncate: boolean,
  adapter: {
    expected: "'auto', false, a name or a folder",
    allows: (value) => value === false || filled.allows(value),
  },
  space: filled,
  signal: { expected: 'an AbortSignal', allows: isAbortSignal },
  onProgress: aFunction,
}

const streamRules = { ...callRules, batchSize: positive }

const preloadRules = { signal: callRules.signal, onProgress: callRules.onProgress }

const globs: Rule = {
  expected: 'an array of globs',
  allows: (value) => Array.isArray(value) && value.every((glob) => filled.allows(glob)),
}

const downloadRules = { ...preloadRules, include: globs }

const chunkCodeRules = { language: filled, path: filled, maxBytes: positive }

const chunkFilesRules = {
  include: globs,
  exclude: globs,
  maxFileBytes: positive,
  maxBytes: positive,
  onSkip: aFunction,
  signal: callRules.signal,
}

const textOrTexts: Rule = {
  expected: 'a string that is not empty, or an array of such',
  allows: (value) => filled.allows(value) || globs.allows(value),
}

const queryRules = {
  ...preloadRules,
  top: positive,
  hybrid: boolean,
  filter: { expected: 'an object with language or path', allows: isRecord },
}

const filterRules = { language: textOrTexts, path: textOrTexts }

const overrideRules: Record<string, Rule> = {
  causal: boolean,
  pooling: oneOf(POOLINGS),
  maxTokens: positive,
  dimensions: {
    expected: 'an array of whole numbers above 0',
    allows: (value) => Array.isArray(value) && value.length > 0 && value.every((n) => positive.allows(n)),
  },
  prompts: {
    expected: `an object with a string for each of some of ${TASKS.join(', ')}`,
    allows: (value) =>
      isRecord(value) &&
      Object.entries(value).every(([task, prompt]) => TASKS.includes(task as Task) && typeof prompt === 'string'),
  },
  backend: oneOf(BACKENDS),
}

const engineRules: Rules<EngineOptions> = {
  device: {
    expected: `'auto' or one of ${DEVICE_KINDS.join(', ')}; a GPU may have an index, as in 'cuda:1', and there may be several, as in 'cuda:0,1' or 'cuda:*'`,
    allows: (value) => typeof value === 'string' && DEVICE.test(value),
  },
  dtype: oneOf(DTYPES),
  cacheDir: filled,
  home: filled,
  endpoint: {
    expected: 'an http or https address',
    allows: (value) => typeof value === 'string' && /^https?:\/\/\S+$/.test(value),
  },
  token: filled,
  offline: boolean,
  maxTokensPerBatch: positive,
  memoryLimit: positive,
  maxQueuedTokens: positive,
  idleUnloadMs: notNegative,
  threads: positive,
  modelDefaults: { expected: 'an object with overrides by model', allows: isRecord },
  logger: {
    expected: 'an object with the functions info, warn and debug',
    allows: (value) =>
      typeof value === 'object' &&
      value !== null &&
      ['info', 'warn', 'debug'].every((name) => typeof (value as Record<string, unknown>)[name] === 'function'),
  },
}

const openIndexRules = {
  ...engineRules,
  model: callRules.model,
  dimensions: callRules.dimensions,
  truncate: callRules.truncate,
  adapter: callRules.adapter,
  space: callRules.space,
  store: filled,
  include: globs,
  exclude: globs,
}

const evaluateRules: Rules<EvaluateOptions> = {
  ...engineRules,
  model: callRules.model,
  dimensions: callRules.dimensions,
  truncate: callRules.truncate,
  adapter: callRules.adapter,
  space: callRules.space,
  ...preloadRules,
  folder: filled,
  dataset: filled,
  split: { expected: 'the name of a file', allows: (value) => typeof value === 'string' && /^[\w.-]+$/.test(value) },
  include: globs,
  exclude: globs,
  nameRepeats: notNegative,
  hybridWeight: {
    expected: 'a number, 0 or more',
    allows: (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
  },
  blankNames: boolean,
  throughIndex: boolean,
}

/** Duck-typed, because a signal may come from another realm or a polyfill. */
function isAbortSignal(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as AbortSignal).aborted === 'boolean' &&
    typeof (value as AbortSignal).addEventListener === 'function' &&
    typeof (value as AbortSignal).throwIfAborted === 'function'
  )
}

/** Refuses what is not an object of known options with allowed values. `undefined` counts as absent. */
function check(options: unknown, rules: Record<string, Rule>, owner: string): void {
  if (options === undefined) return
  if (!isRecord(options)) {
    throw invalidInput(`The options of ${owner} must be an object, not ${show(options)}.`)
  }
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    if (!rule) {
      const meant = nearest(name, Object.keys(rules))
      const hint = meant ? `Did you mean '${meant}'?` : `There are: ${Object.keys(rules).join(', ')}.`
      throw invalidOption(name, `${owner} has no option '${name}'. ${hint}`, value)
    }
    if (value !== undefined && !rule.allows(value)) {
      throw invalidOption(name, `Option '${name}' of ${owner} must be ${rule.expected}, not ${show(value)}.`, value)
    }
  }
}

/** Refuses bad options of a call. */
export function checkCallOptions(owner: string, options: unknown): void {
  check(options, callRules, owner)
}

/** Refuses bad options of a stream. */
export function checkStreamOptions(owner: string, options: unknown): void {
  check(options, streamRules, owner)
}

/** Refuses bad options of a preload. */
export function checkPreloadOptions(owner: string, options: unknown): void {
  check(options, preloadRules, owner)
}

/** Refuses bad options of {@link EmbeddingEngine.download}. */
export function checkDownloadOptions(owner: string, options: unknown): void {
  check(options, downloadRules, owner)
}

/** Refuses bad options of `chunkCode`. */
export function checkChunkCodeOptions(owner: string, options: unknown): void {
  check(options, chunkCodeRules, owner)
}

/** Refuses bad options of `chunkFiles`. */
export function checkChunkFilesOptions(owner: string, options: unknown): void {
  check(options, chunkFilesRules, owner)
}

/** Refuses bad options of `openIndex`. */
export function checkOpenIndexOptions(owner: string, options: OpenIndexOptions): void {
  check(options, openIndexRules, owner)
  checkModelDefaults(options)
  if (options.model !== 'auto') return
  const message = "An index has one model for all of its texts. Name it: 'bundled', 'code' or 'text', not 'auto'."
  throw invalidOption('model', message, options.model)
}

/** Refuses bad options of `evaluate`. */
export function checkEvaluateOptions(owner: string, options: EvaluateOptions): void {
  if (options === undefined) throw invalidInput(`${owner} needs options: a folder or a dataset.`)
  check(options, evaluateRules, owner)
  checkModelDefaults(options)
  const { folder, dataset, model, throughIndex } = options
  if ((folder === undefined) === (dataset === undefined)) {
    const message = `${owner} needs one of folder (of code) and dataset (with corpus.jsonl), not ${folder === undefined ? 'none' : 'both'}.`
    throw invalidOption('folder', message, folder)
  }
  const others =
    dataset === undefined
      ? (['split'] as const)
      : (['include', 'exclude', 'nameRepeats', 'blankNames', 'throughIndex'] as const)
  refuseWith(owner, options, others, dataset === undefined ? 'is for a dataset' : 'is for a folder of code')
  if (throughIndex) refuseWith(owner, options, ['nameRepeats', 'hybridWeight', 'blankNames'], "is the index's own")
  if (model === 'auto') {
    const message = "One model is evaluated. Name it: 'bundled', 'code' or 'text', not 'auto'."
    throw invalidOption('model', message, model)
  }
}

/** Refuses options that have no meaning beside others. */
function refuseWith(
  owner: string,
  options: EvaluateOptions,
  names: readonly (keyof EvaluateOptions)[],
  why: string,
): void {
  for (const name of names) {
    if (options[name] === undefined) continue
    throw invalidOption(name, `Option '${name}' of ${owner} ${why}: leave it out.`, options[name])
  }
}

/** The options of an engine among others, without what is undefined, and the others. */
export function splitEngineOptions<T extends EngineOptions>(
  options: T,
): { engine: EngineOptions; rest: Omit<T, keyof EngineOptions> } {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const [engine, rest] = [true, false].map((ofEngine) =>
    Object.fromEntries(given.filter(([name]) => Object.hasOwn(engineRules, name) === ofEngine)),
  )
  return { engine: engine as EngineOptions, rest: rest as Omit<T, keyof EngineOptions> }
}

/** Refuses bad options of `update`. */
export function checkUpdateOptions(owner: string, options: unknown): void {
  check(options, preloadRules, owner)
}

/** Refuses bad options of `query`. */
export function checkQueryOptions(owner: string, options: QueryOptions): void {
  check(options, queryRules, owner)
  check(options.filter, filterRules, `filter of ${owner}`)
}

/** Refuses bad options of an engine. */
export function checkEngineOptions(options: EngineOptions): void {
  check(options, engineRules, 'EmbeddingEngine')
  checkModelDefaults(options)
}

function checkModelDefaults(options: EngineOptions): void {
  for (const [model, overrides] of Object.entries(options.modelDefaults ?? {})) {
    check(overrides, overrideRules, `modelDefaults['${model}']`)
  }
}

/** Refuses what is not a text; `index` is its place in the call. */
export function checkText(text: unknown, index?: number): asserts text is string {
  if (typeof text === 'string') return
  const place = index === undefined ? 'The text' : `Text ${index}`
  throw invalidInput(`${place} must be a string, not ${show(text)}.`, index === undefined ? {} : { index })
}

/** Refuses what is not an array. */
export function checkArray(value: unknown, what: string): asserts value is readonly unknown[] {
  if (Array.isArray(value)) return
  const hint = typeof value === 'string' ? ' Put a single one into an array.' : ''
  throw invalidInput(`${what} must be an array, not ${show(value)}.${hint}`)
}

/** Refuses what cannot name a model. */
export function checkModelRef(model: unknown, index: number): asserts model is string {
  if (filled.allows(model)) return
  throw new EmbeddingError('INVALID_INPUT', `Model ${index} must be ${filled.expected}, not ${show(model)}.`, {
    details: { index },
  })
}
