/**
 * The native binding (crates/node), as this side sees it. Users never meet these names.
 * Every error that it throws has JSON in its message: see `fromNative`.
 */
export interface Binding {
  NativeEngine: new (optionsJson: string) => NativeEngine
  CancelToken: new () => CancelToken
  /** JSON of {@link DeviceInfo}[]. */
  listDevices(optionsJson: string): string
  /** JSON of {@link ModelEntry}[]. */
  listModels(optionsJson: string): string
  /** JSON with what the core knows of itself and its surroundings. */
  doctor(optionsJson: string): string
  /** JSON of the chunks of a text, without their texts. */
  chunkCode(text: string, optionsJson: string): string
  NativeFiles: new (folder: string, optionsJson: string) => NativeFiles
  /** Opens the index of a folder, or makes an empty one. */
  openIndex(engine: NativeEngine, folder: string, requestJson: string, optionsJson: string): Promise<NativeIndex>
  /** JSON of the report of an evaluation. */
  evaluate(
    engine: NativeEngine,
    requestJson: string,
    optionsJson: string,
    cancel: CancelToken,
    onEvent?: EventCallback,
  ): Promise<string>
  /** JSON of where a model lies, without any network. */
  modelPath(optionsJson: string, model: string): string
  /** Removes a model from the hub cache; JSON of what was removed. */
  removeModel(optionsJson: string, model: string): string
  /** JSON of where the hub is and whether it answers. */
  hubStatus(optionsJson: string): Promise<string>
  /** For the process of {@link probeCommand} only. */
  probeCuda(): void
  /** The version of the core. */
  version(): string
}

/** Told a progress event as JSON. */
export type EventCallback = (json: string) => void

/** One engine of the core. */
export interface NativeEngine {
  embed(
    requestJson: string,
    text: Uint8Array,
    lengths: Uint32Array,
    cancel: CancelToken,
    onEvent?: EventCallback,
  ): Promise<NativeVectors>
  countTokens(
    requestJson: string,
    text: Uint8Array,
    lengths: Uint32Array,
    cancel: CancelToken,
    onEvent?: EventCallback,
  ): Promise<Uint32Array>
  preload(requestJson: string, cancel: CancelToken, onEvent?: EventCallback): Promise<string>
  /** Fetches without loading. */
  download(requestJson: string, cancel: CancelToken, onEvent?: EventCallback): Promise<string>
  /** Hashes what lies in the hub cache again. */
  verify(requestJson: string, cancel: CancelToken, onEvent?: EventCallback): Promise<string>
  dispose(): Promise<void>
}

/** The files of a folder with their chunks. */
export interface NativeFiles {
  /** JSON of the next files; none at the end. */
  next(): Promise<string>
}

/** An index of a folder. */
export interface NativeIndex {
  /** JSON of {@link UpdateReport}. */
  update(cancel: CancelToken, onEvent?: EventCallback): Promise<string>
  /** JSON of {@link SearchHit}[]. */
  query(text: string, optionsJson: string, cancel: CancelToken, onEvent?: EventCallback): Promise<string>
  /** JSON of {@link IndexStats}. */
  stats(): Promise<string>
  space(): string | null
  close(): Promise<void>
}

/** Polled by the core between layers and tiles. */
export interface CancelToken {
  cancel(): void
}

/** The vectors of a call, one after another. */
export interface NativeVectors {
  data: Float32Array | Int8Array | Uint8Array
  tokensPerText: Uint32Array
  /** One byte a text: 1 where it was cut. */
  truncated: Uint8Array
  /** JSON of {@link NativeReport}. */
  report: string
}

/** What a result says about itself. */
export interface NativeReport {
  dimensions: number
  model: unknown
  space: string
  tokens: number
}
