// Generated from index.ts by npm run types. Do not edit.
/// <reference lib="esnext.disposable" />
/**
 * What a chunk is: a declaration, the header of one whose members stand for themselves, a section of a document, or
 * (`block`) what lies between.
 */
type ChunkKind = 'function' | 'method' | 'class' | 'interface' | 'enum' | 'implementation' | 'module' | 'type' | 'macro' | 'section' | 'block';
/** A part of a source text. */
interface CodeChunk {
    /** The source as it stands: `source.slice(start, end)`. */
    text: string;
    /**
     * What to embed: a line with the names of what it lies in and several times its own, which the bundled model is
     * trained on; a line with the signature; the source.
     */
    embedText: string;
    /** What it is called. */
    name: string | null;
    kind: ChunkKind;
    /** How it is declared, on one line. */
    signature: string | null;
    /** What its comments or its docstring say. */
    doc: string | null;
    /** The first UTF-16 unit. */
    start: number;
    /** One past the last. */
    end: number;
    /** From 1. */
    startLine: number;
    /** From 1. */
    endLine: number;
    /** `typescript`, `python`, …; null where it is cut at empty lines. */
    language: string | null;
}
/** Options of {@link chunkCode}. */
interface ChunkCodeOptions {
    /**
     * The language, such as `typescript` or `ts`. One that is not known is cut at empty lines.
     * @defaultValue by `path`
     * @example
     * ```ts
     * chunkCode(source, { language: 'python' })
     * ```
     */
    language?: string;
    /**
     * The name of the file, which tells the language.
     * @defaultValue none: the text is cut at empty lines
     * @example
     * ```ts
     * chunkCode(source, { path: 'src/index.ts' })
     * ```
     */
    path?: string;
    /**
     * The largest chunk, in bytes of UTF-8. What is larger is cut between statements; only a single token may exceed it.
     * @defaultValue 2000, about 500 tokens of code
     * @example
     * ```ts
     * chunkCode(source, { path: 'a.rs', maxBytes: 4000 })
     * ```
     */
    maxBytes?: number;
}
/** Why a file has no chunks. */
type SkipReason = 'binary' | 'generated' | 'minified' | 'large' | 'vendored' | 'unreadable';
/** Options of {@link chunkFiles}. */
interface ChunkFilesOptions {
    /**
     * Globs of the files to take; `*` stays within a folder, `**` does not.
     * @defaultValue all
     * @example
     * ```ts
     * chunkFiles('.', { include: ['src/**'] })
     * ```
     */
    include?: string[];
    /**
     * Globs of files to leave out.
     * @defaultValue none
     * @example
     * ```ts
     * chunkFiles('.', { exclude: ['**\/*.test.ts'] })
     * ```
     */
    exclude?: string[];
    /**
     * Larger files are skipped.
     * @defaultValue 1,048,576
     * @example
     * ```ts
     * chunkFiles('.', { maxFileBytes: 200_000 })
     * ```
     */
    maxFileBytes?: number;
    /**
     * As for {@link chunkCode}.
     * @defaultValue 2000
     * @example
     * ```ts
     * chunkFiles('.', { maxBytes: 4000 })
     * ```
     */
    maxBytes?: number;
    /**
     * Told of each file that is skipped. What `.gitignore`, `.embeddingignore` or the options leave out is not.
     * @defaultValue none
     * @example
     * ```ts
     * chunkFiles('.', { onSkip: (path, reason) => console.error(reason, path) })
     * ```
     */
    onSkip?: (path: string, reason: SkipReason) => void;
    /**
     * Ends the loop with the signal's reason.
     * @defaultValue none
     * @example
     * ```ts
     * chunkFiles('.', { signal: controller.signal })
     * ```
     */
    signal?: AbortSignal;
}
/** A file with its chunks. */
interface FileChunks {
    /** Relative to the folder, with `/`. */
    path: string;
    language: string | null;
    chunks: CodeChunk[];
}
/**
 * Cuts source code where it should be cut: at functions, methods, the headers of classes; Markdown at its headings,
 * other texts at empty lines. The chunks cover the text, in order; only white space lies between them.
 *
 * @throws EmbeddingError `INVALID_INPUT`, `INVALID_OPTION`
 * @example
 * ```ts
 * for (const { name, kind, startLine, embedText } of chunkCode(source, { path: 'src/queue.ts' })) {
 *   console.log(kind, name, startLine, embedText.length)
 * }
 * ```
 */
declare function chunkCode(text: string, options?: ChunkCodeOptions): CodeChunk[];
/**
 * The files of a folder with their chunks, one at a time, in bounded memory. What `.gitignore` and
 * `.embeddingignore` name, hidden files and installed dependencies are left out; binary, generated, minified,
 * vendored and large files are skipped, and `onSkip` is told.
 *
 * @throws EmbeddingError `INVALID_INPUT` for what is no folder, `INVALID_OPTION`
 * @example
 * ```ts
 * for await (const { path, chunks } of chunkFiles('./my-repo')) console.log(path, chunks.length)
 * ```
 */
declare function chunkFiles(folder: string, options?: ChunkFilesOptions): AsyncGenerator<FileChunks, void, undefined>;

/** A part of a document, in UTF-16 units as `String.prototype.slice` counts them. */
interface ChunkRange {
    /** The first unit. */
    start: number;
    /** One past the last unit. */
    end: number;
}

/**
 * What {@link CallOptions.onProgress} is told: the files that are fetched (in the shapes of transformers.js, `name`
 * being the hub id), then the model, then the texts.
 */
type EmbeddingProgress = 
/** A file of the model is needed and not there. */
{
    status: 'initiate';
    name: string;
    file: string;
}
/** Its transfer begins, or goes on where an earlier one stopped. */
 | {
    status: 'download';
    name: string;
    file: string;
}
/** How far it is, in bytes; `loaded` counts what an earlier call fetched, the speed is that of the last seconds. */
 | {
    status: 'progress';
    name: string;
    file: string;
    /** 0 to 100. */
    progress: number;
    loaded: number;
    total: number;
    bytesPerSecond: number;
    /** Missing while nothing is known about the speed. */
    etaSeconds?: number;
}
/** How far all files are that are known to be needed so far. */
 | {
    status: 'progress_total';
    name: string;
    /** 0 to 100. */
    progress: number;
    loaded: number;
    total: number;
    bytesPerSecond: number;
    /** Missing while nothing is known about the speed. */
    etaSeconds?: number;
    files: Record<string, {
        loaded: number;
        total: number;
    }>;
}
/** The file is verified and in its place. */
 | {
    status: 'done';
    name: string;
    file: string;
}
/** The model's weights are being loaded. */
 | {
    status: 'loading';
    model: string;
}
/** The model can be used. */
 | {
    status: 'ready';
    model: string;
    device: string;
}
/**
 * How far the texts are. `total` and `etaSeconds` are missing only where it is not known yet how many texts there
 * are: in a stream whose source does not say, and in the update of an index.
 */
 | {
    status: 'embedding';
    done: number;
    total?: number;
    tokensPerSecond: number;
    etaSeconds?: number;
}
/** Another update of the same index runs already, here or in another process: it is waited for. */
 | {
    status: 'waiting';
}
/** How far an update of an index is. */
 | {
    status: 'indexing';
    /** The last file that was stored. */
    file: string;
    /** Files that are up to date. */
    done: number;
    /** Files of the folder. */
    total: number;
    /** Chunks of the files that were stored so far. */
    chunks: number;
    /** What the model has read so far. */
    tokens: number;
    tokensPerSecond: number;
    /** Missing while nothing is known about the speed. */
    etaSeconds?: number;
};
/** Told how far a call is. */
type ProgressCallback = (progress: EmbeddingProgress) => void;

/**
 * Names a model: an alias (`'code'`, `'text'`, `'auto'`), a hub id (`'Qwen/Qwen3-Embedding-0.6B'`, with
 * `@revision` if wanted), or a path to a folder (`'./x'`, `'/x'`, `'file:…'`). What is not in the hub cache is
 * downloaded into it, unless the engine is offline.
 */
type ModelRef = string;
/**
 * What the vectors are for. `document` and `query` are made to be compared with each other;
 * each model maps a task to its own prompt, task id or nothing.
 */
type Task = 'document' | 'query' | 'similarity' | 'classification' | 'clustering';
/** Number format of the vectors. */
type Precision = 'float32' | 'int8' | 'uint8' | 'binary' | 'ubinary';
/** The typed array that holds a vector of the given precision. */
type VectorOf<P extends Precision> = P extends 'float32' ? Float32Array : P extends 'int8' | 'binary' ? Int8Array : Uint8Array;
/** Options of one call. */
interface CallOptions<P extends Precision = Precision> {
    /**
     * The model.
     * @defaultValue the environment variable `EMBEDDING_ENGINE_MODEL`, else `'bundled'`
     * @example
     * ```ts
     * await embed('fn main() {}', { model: './models/my-model' })
     * ```
     */
    model?: ModelRef;
    /**
     * What the vectors are for.
     * @defaultValue `'document'`
     * @example
     * ```ts
     * await embed('where are retries handled', { task: 'query' })
     * ```
     */
    task?: Task;
    /**
     * Put before each text in place of the model's own prompt for the task; `false` for none.
     * @defaultValue the model's own
     * @example
     * ```ts
     * await embed('parse a date', { prompt: 'Instruct: Given a question, find code\nQuery: ' })
     * ```
     */
    prompt?: string | false;
    /**
     * Cuts each vector to its first components and normalises it again (Matryoshka). Only what the model
     * declares is allowed.
     * @defaultValue all of the model's dimensions
     * @example
     * ```ts
     * await embed('text', { model: 'text', dimensions: 256 })
     * ```
     */
    dimensions?: number;
    /**
     * Whether vectors get unit length.
     * @defaultValue `true`
     * @example
     * ```ts
     * await embed('text', { normalize: false })
     * ```
     */
    normalize?: boolean;
    /**
     * Number format of the vectors. `int8` and `uint8` use one fixed scale (±1 becomes ±127); `binary` and
     * `ubinary` pack one bit a component, as sentence-transformers does.
     * @defaultValue `'float32'`
     * @example
     * ```ts
     * const { embedding } = await embed('text', { precision: 'int8' }) // an Int8Array
     * ```
     */
    precision?: P;
    /**
     * `true`: a text over the model's limit is cut, and the result says so in `truncated`.
     * `false`: such a text is `TEXT_TOO_LONG`, before anything is computed.
     * @defaultValue `true`
     * @example
     * ```ts
     * await embedBatch(files, { truncate: false })
     * ```
     */
    truncate?: boolean;
    /**
     * The fine-tune to use: `'auto'` for the one that is active for this model, if any; `false` for none; a
     * name or a folder.
     * @defaultValue `'auto'`
     * @example
     * ```ts
     * await embed('text', { adapter: false })
     * ```
     */
    adapter?: string | false;
    /**
     * A space id: the call fails with `SPACE_MISMATCH` unless its vectors would lie in that space.
     * @defaultValue any space
     * @example
     * ```ts
     * const { space } = await embedBatch(documents, { model: 'code' })
     * await embed(question, { model: 'code', task: 'query', space })
     * ```
     */
    space?: string;
    /**
     * Cancels the call, which then rejects with `signal.reason`.
     * @defaultValue none
     * @example
     * ```ts
     * await embedBatch(texts, { signal: AbortSignal.timeout(5000) })
     * ```
     */
    signal?: AbortSignal;
    /**
     * Told how far the call is, at most ten times a second for each status. What it throws is ignored.
     * @defaultValue none
     * @example
     * ```ts
     * await embedBatch(texts, { onProgress: (p) => p.status === 'embedding' && console.error(p.done, p.total) })
     * ```
     */
    onProgress?: ProgressCallback;
}
/** Options of {@link embedStream}. */
interface StreamOptions<P extends Precision = Precision> extends CallOptions<P> {
    /**
     * The most texts in one part. A part also ends once its texts hold 128 Ki characters, so that
     * memory does not depend on how long the texts are.
     * @defaultValue `128`
     * @example
     * ```ts
     * for await (const { offset, embeddings } of embedStream(lines, { batchSize: 1 })) show(offset, embeddings[0])
     * ```
     */
    batchSize?: number;
}
/** Options of {@link preloadModels}. */
interface PreloadOptions {
    /**
     * Cancels the download and the loading; what has come stays.
     * @defaultValue none
     * @example
     * ```ts
     * await preloadModels('code', { signal: controller.signal })
     * ```
     */
    signal?: AbortSignal;
    /**
     * Told how far the files of a model are, when it starts to load, and when it is ready.
     * @defaultValue none
     * @example
     * ```ts
     * await preloadModels('code', { onProgress: (p) => console.error(p.status) })
     * ```
     */
    onProgress?: ProgressCallback;
}
/** Options of {@link EmbeddingEngine.download}. */
interface DownloadOptions extends PreloadOptions {
    /**
     * Globs of further files of the repository, beside those that the model needs; `*` matches `/` too.
     * @defaultValue none
     * @example
     * ```ts
     * await engine.download('code', { include: ['LICENSE*'] })
     * ```
     */
    include?: string[];
}
/** A caller's own words about a model; stronger than what its folder and the catalogue say. */
interface ModelOverrides {
    /**
     * Forces causal (`true`) or bidirectional (`false`) attention.
     * @defaultValue what the model's config says
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { causal: false } } })
     * ```
     */
    causal?: boolean;
    /**
     * Forces the pooling.
     * @defaultValue what the model's folder says
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { pooling: 'mean' } } })
     * ```
     */
    pooling?: 'lasttoken' | 'cls' | 'mean' | 'max' | 'mean_sqrt_len' | 'weighted_mean';
    /**
     * Lowers the limit on the tokens of a text.
     * @defaultValue the model's own limit
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { maxTokens: 2048 } } })
     * ```
     */
    maxTokens?: number;
    /**
     * The Matryoshka dimensions that the model was trained for.
     * @defaultValue what the model's config says
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { dimensions: [64, 128, 256] } } })
     * ```
     */
    dimensions?: number[];
    /**
     * The prompt of each task; an empty string for none.
     * @defaultValue the model's own
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { prompts: { query: 'query: ', document: 'passage: ' } } } })
     * ```
     */
    prompts?: Partial<Record<Task, string>>;
    /**
     * Which backend runs the model. `'onnx'` takes the folder's ONNX graph, and where a Qwen or BERT folder has none,
     * writes one over its safetensors, without copying them: the vectors are the same, and so is the space.
     * @defaultValue safetensors by Candle before an ONNX graph; ONNX Runtime on a device that it alone reaches
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { backend: 'onnx' } } })
     * ```
     */
    backend?: 'candle' | 'onnx';
}
/** Where an engine's messages go. */
interface Logger {
    info(message: string): void;
    warn(message: string): void;
    debug(message: string): void;
}
/** Options of an {@link EmbeddingEngine}. */
interface EngineOptions {
    /**
     * The device: `'auto'`, `'cpu'`, `'cuda'`, `'cuda:1'`, `'tensorrt'`, `'migraphx'`, `'directml'`, `'coreml'`,
     * `'openvino'`, `'metal'`; several cards as `'cuda:0,1'` or `'cuda:*'`. A named one that cannot be used is `DEVICE_UNAVAILABLE`;
     * {@link listDevices} tells which can. `'auto'` takes the NVIDIA card with the most free memory that can hold the
     * model, else the CPU; where there is a card that cannot be used, it says why in one warning. `'tensorrt'`,
     * `'migraphx'`, `'directml'`, `'coreml'` and `'openvino'` run in ONNX Runtime, Qwen and BERT folders as well.
     * @defaultValue the environment variable `EMBEDDING_ENGINE_DEVICE`, else `'auto'`
     * @example
     * ```ts
     * new EmbeddingEngine({ device: 'cpu' })
     * ```
     */
    device?: string;
    /**
     * Number format of the weights in use. `'auto'` on a CPU is `'bfloat16'` where it multiplies that (AVX-512 BF16),
     * which is up to twice as fast, and `'float32'` elsewhere; `model.dtype` of a result tells. An ONNX graph has its
     * own: asking for another one is `INVALID_OPTION`, as is `'float16'` for Qwen models (they give NaN in it). On a GPU `'auto'` is
     * `'bfloat16'`. `'int8'` is for the CPU: a quarter of the memory, faster still where the CPU multiplies bytes (VNNI),
     * and coarser; its vectors lie in a space of their own.
     * @defaultValue `'auto'`
     * @example
     * ```ts
     * new EmbeddingEngine({ dtype: 'bfloat16' })
     * ```
     */
    dtype?: 'auto' | 'float32' | 'bfloat16' | 'float16' | 'int8';
    /**
     * The hub cache, shared with Python tools.
     * @defaultValue `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`
     * @example
     * ```ts
     * new EmbeddingEngine({ cacheDir: '/data/hub' })
     * ```
     */
    cacheDir?: string;
    /**
     * The folder of this package's own state.
     * @defaultValue the environment variable `EMBEDDING_ENGINE_HOME`, else the platform's data folder
     * @example
     * ```ts
     * new EmbeddingEngine({ home: '/data/embedding-engine' })
     * ```
     */
    home?: string;
    /**
     * The address of the hub.
     * @defaultValue `HF_ENDPOINT`, else the public hub
     * @example
     * ```ts
     * new EmbeddingEngine({ endpoint: 'https://hub.example.com' })
     * ```
     */
    endpoint?: string;
    /**
     * The token for the hub. It is sent to the hub's own address only, and stands in no message.
     * @defaultValue `HF_TOKEN`, else the token file of the hub's tools
     * @example
     * ```ts
     * new EmbeddingEngine({ token: process.env.MY_HUB_TOKEN })
     * ```
     */
    token?: string;
    /**
     * Never touch the network: a model that is not in the hub cache is `OFFLINE`. Otherwise a cached model whose
     * revision is pinned makes no request either, and one that is not makes one, for 1.5 s at most.
     * @defaultValue `HF_HUB_OFFLINE`, else `false`
     * @example
     * ```ts
     * new EmbeddingEngine({ offline: true })
     * ```
     */
    offline?: boolean;
    /**
     * The token budget of one batch: what bounds the memory in use.
     * @defaultValue chosen by the core
     * @example
     * ```ts
     * new EmbeddingEngine({ maxTokensPerBatch: 4096 })
     * ```
     */
    maxTokensPerBatch?: number;
    /**
     * The most bytes that the weights of loaded models may take: idle models are unloaded to make room, and what
     * does not fit even so is `OUT_OF_MEMORY`. Batches are bounded by `maxTokensPerBatch`; on a GPU in our own encoders
     * also by what this leaves of each card beside the weights.
     * @defaultValue no limit
     * @example
     * ```ts
     * new EmbeddingEngine({ memoryLimit: 4 * 2 ** 30 })
     * ```
     */
    memoryLimit?: number;
    /**
     * The most tokens that may wait; a call past it fails at once with `QUEUE_FULL`. A call is let in where nothing
     * else waits, however large it is, and streams wait for room.
     * @defaultValue chosen by the core
     * @example
     * ```ts
     * new EmbeddingEngine({ maxQueuedTokens: 1_000_000 })
     * ```
     */
    maxQueuedTokens?: number;
    /**
     * Unloads a model that was not used for this many milliseconds; the next call loads it again. `0` never does.
     * @defaultValue `0`
     * @example
     * ```ts
     * new EmbeddingEngine({ idleUnloadMs: 10 * 60_000 })
     * ```
     */
    idleUnloadMs?: number;
    /**
     * The most threads that compute.
     * @defaultValue all cores
     * @example
     * ```ts
     * new EmbeddingEngine({ threads: 2 })
     * ```
     */
    threads?: number;
    /**
     * Overrides by model, under the {@link ModelRef} as it is passed to calls.
     * @defaultValue none
     * @example
     * ```ts
     * new EmbeddingEngine({ modelDefaults: { './m': { causal: false, maxTokens: 2048 } } })
     * ```
     */
    modelDefaults?: Record<ModelRef, ModelOverrides>;
    /**
     * Where messages go.
     * @defaultValue silent, except one `console.warn` for a fallback
     * @example
     * ```ts
     * new EmbeddingEngine({ logger: console })
     * ```
     */
    logger?: Logger;
}

/** A model that was fetched. */
interface ModelDownload {
    id: string;
    revision: string | null;
    /** The folder with its files. */
    path: string;
    /** Of all its files. */
    bytes: number;
    /** What came over the network. */
    downloadedBytes: number;
    files: {
        file: string;
        bytes: number;
    }[];
}
/** What hashing the files in the hub cache found. */
interface Verification {
    ok: boolean;
    bytes: number;
    models: {
        id: string;
        path: string;
        ok: boolean;
        files: {
            file: string;
            revision: string;
            bytes: number;
            ok: boolean;
            reason?: string;
        }[];
    }[];
}

/** The licence of a model, as it is shown to users. */
interface License {
    /** Its SPDX id where there is one. */
    name: string;
    /** Where its text stands. */
    link?: string;
    /** What a user must know, in one sentence. */
    note?: string;
}
/** The model of a result, all as really used. */
interface ModelInfo {
    /** Hub id, or the path as it was given. */
    id: string;
    /** Commit of the hub repository; `null` for a plain folder. */
    revision: string | null;
    /** The fine-tune in use, if any. */
    adapter: string | null;
    /** What computed. */
    backend: 'candle' | 'onnx' | 'static';
    /** The device, such as `cpu` or `cuda:0`. */
    device: string;
    /** Number format of the weights in use. */
    dtype: string;
    /** How token vectors became one: `lasttoken`, `mean`, `cls`, … */
    pooling: string;
    /** Whether a token sees the tokens after it. */
    attention: 'causal' | 'bidirectional';
    /** The longest text in tokens, prompt and special tokens included. */
    maxTokens: number;
    /** The licence, where it is known. */
    license: License | null;
}
/** What {@link embed} gives. */
interface EmbedResult<P extends Precision = Precision> {
    /** The vector. */
    embedding: VectorOf<P>;
    /** Components of the vector (bits, for `binary` and `ubinary`). */
    dimensions: number;
    /** Tokens that the model read: prompt, text, special and end tokens. */
    usage: {
        tokens: number;
    };
    /** Whether the text was cut at the model's limit. */
    truncated: boolean;
    /** The model, as really used. */
    model: ModelInfo;
    /** Equal strings mean comparable vectors. */
    space: string;
}
/** What {@link embedBatch} gives. */
interface BatchResult<P extends Precision = Precision> {
    /** A vector for each text, in order: views into `data`. */
    embeddings: VectorOf<P>[];
    /** All vectors one after another. */
    data: VectorOf<P>;
    /** Components of a vector (bits, for `binary` and `ubinary`). */
    dimensions: number;
    /** Tokens that the model read: prompt, text, special and end tokens. */
    usage: {
        tokens: number;
        tokensPerText: Uint32Array;
    };
    /** For each text, whether it was cut at the model's limit. */
    truncated: boolean[];
    /** The model, as really used. */
    model: ModelInfo;
    /** Equal strings mean comparable vectors. */
    space: string;
}
/** What {@link embedChunks} gives. */
interface ChunksResult<P extends Precision = Precision> {
    /** A vector for each chunk, in order: views into `data`. */
    embeddings: VectorOf<P>[];
    /** All vectors one after another. */
    data: VectorOf<P>;
    /** Components of a vector (bits, for `binary` and `ubinary`). */
    dimensions: number;
    /** Tokens that the model read: prompt, document, special and end tokens. */
    usage: {
        tokens: number;
    };
    /** Whether the document was cut at the model's limit. */
    truncated: boolean;
    /** The model, as really used. */
    model: ModelInfo;
    /** Equal strings mean comparable vectors. */
    space: string;
}
/** What {@link embedStream} gives, part by part. */
interface StreamPart<P extends Precision = Precision> extends BatchResult<P> {
    /** The place of the part's first text in the source. */
    offset: number;
}

/** Where a stream's texts come from. */
type TextSource = Iterable<string> | AsyncIterable<string>;

/**
 * An engine of its own: loaded models, a device, a queue. The functions of the module share one default engine;
 * make your own for other options or to free its memory at a known time.
 *
 * Nothing is loaded before the first call.
 *
 * @example
 * ```ts
 * await using engine = new EmbeddingEngine({ device: 'cpu', threads: 2 })
 * const { embedding } = await engine.embed('Hello', { model: './my-model' })
 * ```
 */
declare class EmbeddingEngine {
    #private;
    /** @throws EmbeddingError `INVALID_OPTION`. What only the device or the files can tell is found out by the first call. */
    constructor(options?: EngineOptions);
    /** See {@link embed}. */
    embed<P extends Precision = 'float32'>(text: string, options?: CallOptions<P>): Promise<EmbedResult<P>>;
    /** See {@link embedBatch}. */
    embedBatch<P extends Precision = 'float32'>(texts: readonly string[], options?: CallOptions<P>): Promise<BatchResult<P>>;
    /** See {@link embedStream}. */
    embedStream<P extends Precision = 'float32'>(source: TextSource, options?: StreamOptions<P>): AsyncGenerator<StreamPart<P>, void, undefined>;
    /** See {@link embedChunks}. */
    embedChunks<P extends Precision = 'float32'>(document: string, chunks: readonly ChunkRange[], options?: CallOptions<P>): Promise<ChunksResult<P>>;
    /** See {@link countTokens}. */
    countTokens(text: string, options?: CallOptions): Promise<number>;
    countTokens(texts: readonly string[], options?: CallOptions): Promise<number[]>;
    /** See {@link preloadModels}. */
    preload(models: ModelRef | readonly ModelRef[], options?: PreloadOptions): Promise<ModelInfo[]>;
    /**
     * Fetches a model into the hub cache without loading it, or the rest of it.
     *
     * @throws EmbeddingError `OFFLINE`, `MODEL_NOT_FOUND`, `ACCESS_DENIED`, `DOWNLOAD_FAILED`, `INTEGRITY_FAILED`,
     * `DISK_FULL`, `MODEL_UNSUPPORTED`
     * @example
     * ```ts
     * const { path, downloadedBytes } = await engine.download('code', { onProgress: console.error })
     * ```
     */
    download(model: ModelRef, options?: DownloadOptions): Promise<ModelDownload>;
    /**
     * Hashes the files of a model in the hub cache again, or of all models. Uses no network.
     *
     * @throws EmbeddingError `MODEL_NOT_FOUND`, `INVALID_INPUT` for a folder, whose files have no hashes
     * @example
     * ```ts
     * const { ok, models } = await engine.verify('code')
     * ```
     */
    verify(model?: ModelRef, options?: PreloadOptions): Promise<Verification>;
    /**
     * Ends the calls that wait or run with `DISPOSED`, and frees the models. Later calls are `DISPOSED`. May be
     * called again.
     *
     * @example
     * ```ts
     * const engine = new EmbeddingEngine()
     * try {
     *   await engine.embed('Hello')
     * } finally {
     *   await engine.dispose()
     * }
     * ```
     */
    dispose(): Promise<void>;
    /** The same as {@link EmbeddingEngine.dispose}, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>;
}

/**
 * The vector of one text.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const { embedding } = await embed('def add(a, b): return a + b', { model: 'code' })
 * ```
 */
declare function embed<P extends Precision = 'float32'>(text: string, options?: CallOptions<P>): Promise<EmbedResult<P>>;
/**
 * The vectors of many texts, in order, each the same as if it were embedded alone. No texts give an empty result.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const { embeddings, usage, truncated } = await embedBatch(texts, { model: 'text', task: 'document' })
 * ```
 */
declare function embedBatch<P extends Precision = 'float32'>(texts: readonly string[], options?: CallOptions<P>): Promise<BatchResult<P>>;
/**
 * The vectors of a source of any length, part by part, in bounded memory: the source is read only as fast as
 * parts are taken, one part ahead. Leaving the loop, or an abort, stops reading and computing.
 *
 * @throws EmbeddingError from the loop; `details.index` counts from the start of the source
 * @example
 * ```ts
 * for await (const { offset, embeddings } of embedStream(readLines(), { model: 'code' })) write(offset, embeddings)
 * ```
 */
declare function embedStream<P extends Precision = 'float32'>(source: TextSource, options?: StreamOptions<P>): AsyncGenerator<StreamPart<P>, void, undefined>;
/**
 * Late chunking: the model reads the whole document once, and each chunk's vector is pooled from its own tokens,
 * which have seen the rest. For models with mean pooling. Special tokens belong to no chunk.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const chunks = [{ start: 0, end: 812 }, { start: 812, end: 1500 }]
 * const { embeddings } = await embedChunks(document, chunks, { model: 'text' })
 * ```
 */
declare function embedChunks<P extends Precision = 'float32'>(document: string, chunks: readonly ChunkRange[], options?: CallOptions<P>): Promise<ChunksResult<P>>;
/**
 * How many tokens the model would read: prompt, text, special and end tokens, before any cut.
 *
 * @throws EmbeddingError
 * @example
 * ```ts
 * const tokens = await countTokens('fn main() {}', { model: 'code' })
 * const each = await countTokens(['a', 'b'], { model: 'code' })
 * ```
 */
declare function countTokens(text: string, options?: CallOptions): Promise<number>;
declare function countTokens(texts: readonly string[], options?: CallOptions): Promise<number[]>;
/**
 * Loads models ahead of the first call that needs them. All are tried, and the error tells of each that failed.
 *
 * @throws EmbeddingError with the code of the first failure; `details.failures` has all
 * @example
 * ```ts
 * await preloadModels(['text', 'code'], { onProgress: ({ status }) => console.error(status) })
 * ```
 */
declare function preloadModels(models: ModelRef | readonly ModelRef[], options?: PreloadOptions): Promise<ModelInfo[]>;

/**
 * Stable codes of {@link EmbeddingError}: what programs branch on. Messages may change, codes do not.
 */
type ErrorCode = 
/** An argument is not of the form that the call takes. */
'INVALID_INPUT'
/** An option does not exist, has a value that it does not take, or that this model does not have. */
 | 'INVALID_OPTION'
/** A text without content; `details.index` says which. */
 | 'EMPTY_TEXT'
/** A text exceeds the model's limit and `truncate` is `false`; `details` has index, tokens and limit. */
 | 'TEXT_TOO_LONG'
/** Neither a folder, nor in the hub cache, nor on the hub; or the hub has no such revision. */
 | 'MODEL_NOT_FOUND'
/** The model is of a kind that this package does not run. */
 | 'MODEL_UNSUPPORTED'
/** The files of the model are broken; `details.file` names the file. */
 | 'BAD_CHECKPOINT'
/** The hub refuses access: a gated repository, or a wrong token. */
 | 'ACCESS_DENIED'
/** A transfer failed. */
 | 'DOWNLOAD_FAILED'
/** A file does not have the hash that the hub states. */
 | 'INTEGRITY_FAILED'
/** The network is needed but may not be used. */
 | 'OFFLINE'
/** No space left for a file. */
 | 'DISK_FULL'
/** The device that was asked for cannot be used; `details` has every attempt and its reason. */
 | 'DEVICE_UNAVAILABLE'
/** An allocation failed, or `memoryLimit` does not allow the work. */
 | 'OUT_OF_MEMORY'
/** More tokens wait than `maxQueuedTokens` allows. */
 | 'QUEUE_FULL'
/** The model computed NaN, infinity or a zero vector. */
 | 'NON_FINITE'
/** The result would lie in another space than the one that was asked for. */
 | 'SPACE_MISMATCH'
/** The engine was disposed. */
 | 'DISPOSED'
/** The native addon cannot be loaded; `details.attempts` lists what was tried and why each failed. */
 | 'NATIVE_LOAD_FAILED'
/** A bug in this package: please report it. */
 | 'INTERNAL';
/**
 * Every failure of this package, except a call's abort, which rejects with `signal.reason`.
 *
 * The message says what happened, with which value, and what to do.
 *
 * @example
 * ```ts
 * try {
 *   await embed(text, { model: './my-model' })
 * } catch (error) {
 *   if (error instanceof EmbeddingError && error.code === 'TEXT_TOO_LONG') console.error(error.details.limit)
 *   else throw error
 * }
 * ```
 */
declare class EmbeddingError extends Error {
    /** What kind of failure it is: see {@link ErrorCode}. */
    readonly code: ErrorCode;
    /** Values for programs, such as `{ index: 3, tokens: 700, limit: 512 }`. */
    readonly details: Record<string, unknown>;
    constructor(code: ErrorCode, message: string, options?: {
        details?: Record<string, unknown>;
        cause?: unknown;
    });
}

/** A device that this build knows, usable or not. */
interface DeviceInfo {
    /** `cpu`, `cuda:0`, … as the option `device` takes it. */
    id: string;
    /** `cpu`, `cuda`, `tensorrt`, `migraphx`, `directml`, `coreml`, `openvino`, `metal` */
    kind: string;
    /** What the maker calls it. */
    name: string;
    /** Whether it can be used. */
    available: boolean;
    /** Why not. */
    reason?: string;
    /** Bytes. */
    memoryTotal?: number;
    /** Bytes. */
    memoryFree?: number;
    /**
     * What else is known: `backends` that can use it, `features` of a CPU; of an NVIDIA card `computeCapability`, `driver`
     * (its version), `driverCuda` (the newest CUDA that it knows), `libraries` (where each was found), `attempts` (files
     * that cannot be used, each with its reason), and `command`, which installs what is missing.
     */
    details: Record<string, unknown>;
}
/**
 * Every device that this build knows, the unusable ones with the reason; each NVIDIA card is one.
 *
 * Where an NVIDIA driver is installed, its libraries are first tried in a process of their own, so that a broken one
 * does no harm. That takes up to some seconds once; what came of it is kept in `EMBEDDING_ENGINE_HOME`.
 *
 * @throws EmbeddingError `NATIVE_LOAD_FAILED`
 * @example
 * ```ts
 * for (const { id, available, reason } of listDevices()) console.log(id, available ? 'usable' : reason)
 * ```
 */
declare function listDevices(): DeviceInfo[];

/** A model that this package knows by name, or finds in the hub cache, or both. */
interface ModelEntry {
    /** Hub id; `bundled` for the model that comes with the package. */
    id: string;
    /** Short names for it. */
    aliases: string[];
    /** Its licence, where it is known. */
    license: License | null;
    /** The commit that the short names stand for. */
    revision: string | null;
    /** What it is good for. */
    summary: string | null;
    /** Millions of parameters. */
    parameters: number | null;
    /** Components of its vectors. */
    dimensions: number | null;
    /** The longest text, in tokens. */
    maxTokens: number | null;
    /** What its vectors can be cut to. */
    matryoshka: number[];
    /** What of it lies in the hub cache. */
    cached: CachedModel | null;
}
/** The files of a model in the hub cache. */
interface CachedModel {
    /** Their folder. */
    path: string;
    /** Bytes on disk. */
    bytes: number;
    /**
     * The snapshots: the commit, the branches and tags that stand for it, the folder with its files, and whether all
     * that the model needs is there (`false` where a download was broken off).
     */
    revisions: {
        commit: string;
        refs: string[];
        path: string;
        complete: boolean;
    }[];
}
/**
 * The models that this package knows by name, then those that are only in the hub cache.
 *
 * @throws EmbeddingError `NATIVE_LOAD_FAILED`, `INVALID_OPTION`
 * @example
 * ```ts
 * for (const { id, aliases, cached } of listModels()) console.log(id, aliases, cached ? 'here' : 'not here')
 * ```
 */
declare function listModels(options?: Pick<EngineOptions, 'cacheDir'>): ModelEntry[];

/**
 * Options of {@link openIndex}: those of an engine, those of a call that belong to a whole index, and where the index is
 * and what is in it. Without any option of an engine the default engine is shared.
 */
interface OpenIndexOptions extends EngineOptions, Pick<CallOptions, 'model' | 'dimensions' | 'truncate' | 'adapter' | 'space'> {
    /**
     * The file of the index; folders above it are made.
     * @defaultValue a file in `indexes` under the engine's `home`, named after the folder
     * @example
     * ```ts
     * await openIndex('.', { store: '.cache/search.db' })
     * ```
     */
    store?: string;
    /**
     * Globs of the files to take; `*` stays within a folder, `**` does not.
     * @defaultValue all
     * @example
     * ```ts
     * await openIndex('.', { include: ['src/**'] })
     * ```
     */
    include?: string[];
    /**
     * Globs of files to leave out.
     * @defaultValue none
     * @example
     * ```ts
     * await openIndex('.', { exclude: ['**\/*.test.ts'] })
     * ```
     */
    exclude?: string[];
}
/** What {@link SearchIndex.update} did. */
interface UpdateReport {
    /** Files in the index now. */
    files: number;
    /** Of these, files that were not in it before. */
    added: number;
    /** Files whose content was another one. */
    changed: number;
    /** Files that were in it, and are not any more. */
    removed: number;
    /** Files that are as they were. */
    unchanged: number;
    /** Chunks in the index now. */
    chunks: number;
    /** Texts that had to be embedded: equal chunks are one text. */
    embedded: number;
    /** What the model read for them. */
    tokens: number;
    /** Files that have no chunks, by reason. */
    skipped: Partial<Record<SkipReason, number>>;
    /** The space of the vectors. */
    space: string;
}
/** Options of {@link SearchIndex.query}. */
interface QueryOptions extends PreloadOptions {
    /**
     * How many hits at most.
     * @defaultValue `10`
     * @example
     * ```ts
     * await index.query('where are retries handled', { top: 3 })
     * ```
     */
    top?: number;
    /**
     * `true`: full text (BM25 over the parts of names) has a say beside the vectors. `false`: the vectors decide alone,
     * and the score is the cosine.
     * @defaultValue `true`
     * @example
     * ```ts
     * await index.query('where are retries handled', { hybrid: false })
     * ```
     */
    hybrid?: boolean;
    /**
     * Only chunks of these languages (names as in `chunkCode`), and of paths that match one of these globs.
     * @defaultValue all
     * @example
     * ```ts
     * await index.query('retry', { filter: { language: ['ts', 'tsx'], path: 'src/**' } })
     * ```
     */
    filter?: {
        language?: string | string[];
        path?: string | string[];
    };
}
/** A chunk that was found. */
interface SearchHit {
    /** Relative to the folder, with `/`. */
    path: string;
    /** From 1. */
    startLine: number;
    /** From 1. */
    endLine: number;
    /** What it is called. */
    name: string | null;
    kind: ChunkKind;
    /** `typescript`, `python`, …; null for files of no language that is known. */
    language: string | null;
    /**
     * The higher, the better. With `hybrid: false` the cosine; else how many standard deviations the chunk is above the
     * mean of the index, by its cosine and (weighted) by full text.
     */
    score: number;
    /** The source as it stood when the file was stored. */
    text: string;
}
/** How much there is in an index. */
interface IndexStats {
    files: number;
    chunks: number;
    /** On disk. */
    bytes: number;
    /** The file. */
    store: string;
    /** The space of the vectors; null before the first update. */
    space: string | null;
}
/** An index of a folder: see {@link openIndex}. Several programs may use one at a time. */
interface SearchIndex {
    /**
     * The space of its vectors; null before the first update. Another model has another space in the same index, and
     * its own vectors: they are never mixed.
     */
    readonly space: string | null;
    /**
     * Brings the index up to date with the folder: reads what changed, cuts it, embeds what has no vector yet. Each batch
     * is stored as soon as it is computed, so that an update that is interrupted goes on from there. One that runs
     * already, here or in another process, is waited for.
     *
     * @throws EmbeddingError `DISK_FULL`, `INTEGRITY_FAILED` for a damaged index, `DISPOSED`, and those of the model
     * @example
     * ```ts
     * const { added, changed, removed, tokens } = await index.update({ onProgress: console.error })
     * ```
     */
    update(options?: PreloadOptions): Promise<UpdateReport>;
    /**
     * The best chunks for a text, best first: exactly those that a scan of all vectors finds. Equal ones are in the order
     * of path and line.
     *
     * @throws EmbeddingError `SPACE_MISMATCH` where the index has no vectors of this model yet, `EMPTY_TEXT`,
     * `INVALID_OPTION`, `INTEGRITY_FAILED`, `DISPOSED`, and those of the model
     * @example
     * ```ts
     * for (const { path, startLine, name, score } of await index.query('where are retries handled')) {
     *   console.log(`${path}:${startLine}`, name, score)
     * }
     * ```
     */
    query(text: string, options?: QueryOptions): Promise<SearchHit[]>;
    /**
     * How much there is.
     *
     * @throws EmbeddingError `DISPOSED`, `INTEGRITY_FAILED`
     * @example
     * ```ts
     * const { files, chunks, bytes } = await index.stats()
     * ```
     */
    stats(): Promise<IndexStats>;
    /**
     * Ends what runs with `DISPOSED`, and closes the file. May be called again.
     *
     * @example
     * ```ts
     * await index.close()
     * ```
     */
    close(): Promise<void>;
    /** The same as {@link SearchIndex.close}, for `await using`. */
    [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Opens the search index of a folder, or makes an empty one: a file that holds the chunks of the folder's code, their
 * vectors and their words. {@link SearchIndex.update} fills it.
 *
 * @throws EmbeddingError `INVALID_INPUT` for what is no folder or no index, `INVALID_OPTION`, `INTEGRITY_FAILED`
 * @example
 * ```ts
 * await using index = await openIndex('./my-repo')
 * await index.update()
 * const hits = await index.query('where are retries handled', { top: 5 })
 * ```
 */
declare function openIndex(folder: string, options?: OpenIndexOptions): Promise<SearchIndex>;

/** A vector: numbers, or one of the typed arrays that this package gives. */
type Vector = readonly number[] | Float32Array | Float64Array | Int8Array | Uint8Array;
/** Options of {@link similarity} and {@link topK}. */
interface SimilarityOptions {
    /**
     * How the vectors were made. Must be given for `Int8Array` (`int8` or `binary`) and `Uint8Array` (`uint8` or
     * `ubinary`), whose numbers alone do not tell.
     * @defaultValue `'float32'`
     * @example
     * ```ts
     * similarity(a, b, { precision: 'binary' })
     * ```
     */
    precision?: Precision;
}
/** A vector's place among those that were searched, and how near it is. */
interface ScoredIndex {
    /** The place. */
    index: number;
    /** The cosine, from -1 to 1. */
    score: number;
}
/**
 * The cosine of two vectors, from -1 to 1. For `binary` and `ubinary` it is that of the sign vectors:
 * 1 - 2 × (bits that differ) / (bits).
 *
 * @throws EmbeddingError `INVALID_INPUT` if they differ in length, are empty, hold what is not finite, or have no
 * direction (all zero); `INVALID_OPTION` if `precision` is needed and missing
 * @example
 * ```ts
 * const { embeddings } = await embedBatch(['a cat', 'a kitten'])
 * similarity(embeddings[0], embeddings[1]) // 0.9…
 * ```
 */
declare function similarity(a: Vector, b: Vector, options?: SimilarityOptions): number;
/**
 * The `k` vectors nearest to the query by cosine, nearest first; equal scores in the order of their places.
 * Fewer if there are fewer.
 *
 * @throws EmbeddingError as {@link similarity} does, naming the vector's place
 * @example
 * ```ts
 * const { embedding } = await embed('where are retries handled', { task: 'query' })
 * for (const { index, score } of topK(embedding, embeddings, 5)) console.log(score, texts[index])
 * ```
 */
declare function topK(query: Vector, vectors: readonly Vector[], k: number, options?: SimilarityOptions): ScoredIndex[];

/** The version of this package. */
declare const version: string;

export { EmbeddingEngine, EmbeddingError, chunkCode, chunkFiles, countTokens, embed, embedBatch, embedChunks, embedStream, listDevices, listModels, openIndex, preloadModels, similarity, topK, version };
export type { BatchResult, CachedModel, CallOptions, ChunkCodeOptions, ChunkFilesOptions, ChunkKind, ChunkRange, ChunksResult, CodeChunk, DeviceInfo, DownloadOptions, EmbedResult, EmbeddingProgress, EngineOptions, ErrorCode, FileChunks, IndexStats, License, Logger, ModelDownload, ModelEntry, ModelInfo, ModelOverrides, ModelRef, OpenIndexOptions, Precision, PreloadOptions, ProgressCallback, QueryOptions, ScoredIndex, SearchHit, SearchIndex, SimilarityOptions, SkipReason, StreamOptions, StreamPart, Task, TextSource, UpdateReport, Vector, VectorOf, Verification };
