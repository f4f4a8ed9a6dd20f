// Generated from index.ts by npm run types. Do not edit.
/// <reference lib="esnext.disposable" />
export { countTokens, embed, embedBatch, embedChunks, embedStream, preloadModels } from './lib/default-engine.ts';
export { EmbeddingEngine } from './lib/engine.ts';
export { EmbeddingError, ErrorCode } from './lib/errors.ts';
export { DeviceInfo, listDevices } from './lib/devices.ts';
export { ModelEntry, listModels } from './lib/models.ts';
export { ScoredIndex, SimilarityOptions, Vector, similarity, topK } from './lib/similarity.ts';
export { version } from './lib/version.ts';
export { ChunkRange } from './lib/chunks.ts';
export { CallOptions, EngineOptions, Logger, ModelOverrides, ModelRef, Precision, PreloadOptions, StreamOptions, Task, VectorOf } from './lib/options.ts';
export { EmbeddingProgress, ProgressCallback } from './lib/progress.ts';
export { BatchResult, EmbedResult, License, ModelInfo, StreamPart } from './lib/results.ts';
export { TextSource } from './lib/stream.ts';
