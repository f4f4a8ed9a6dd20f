export { chunkCode, chunkFiles } from './lib/chunk-code.ts'
export { countTokens, embed, embedBatch, embedChunks, embedStream, preloadModels } from './lib/default-engine.ts'
export { EmbeddingEngine } from './lib/engine.ts'
export { EmbeddingError } from './lib/errors.ts'
export { listDevices } from './lib/devices.ts'
export { listModels } from './lib/models.ts'
export { openIndex } from './lib/search-index.ts'
export { similarity, topK } from './lib/similarity.ts'
export { version } from './lib/version.ts'

export type {
  ChunkCodeOptions,
  ChunkFilesOptions,
  ChunkKind,
  CodeChunk,
  FileChunks,
  SkipReason,
} from './lib/chunk-code.ts'
export type { ChunkRange } from './lib/chunks.ts'
export type { DeviceInfo } from './lib/devices.ts'
export type { ErrorCode } from './lib/errors.ts'
export type { ModelDownload, Verification } from './lib/hub-cache.ts'
export type { CachedModel, ModelEntry } from './lib/models.ts'
export type {
  CallOptions,
  DownloadOptions,
  EngineOptions,
  Logger,
  ModelOverrides,
  ModelRef,
  Precision,
  PreloadOptions,
  StreamOptions,
  Task,
  VectorOf,
} from './lib/options.ts'
export type { EmbeddingProgress, ProgressCallback } from './lib/progress.ts'
export type { BatchResult, ChunksResult, EmbedResult, License, ModelInfo, StreamPart } from './lib/results.ts'
export type {
  IndexStats,
  OpenIndexOptions,
  QueryOptions,
  SearchHit,
  SearchIndex,
  UpdateReport,
} from './lib/search-index.ts'
export type { ScoredIndex, SimilarityOptions, Vector } from './lib/similarity.ts'
export type { TextSource } from './lib/stream.ts'
