//! Exported graphs in ONNX Runtime.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// How to run a session.
#[derive(Debug, Clone, Default)]
pub struct OnnxOptions {
    /// The ONNX Runtime library; without it `EMBEDDING_ENGINE_ONNXRUNTIME`.
    pub library: Option<PathBuf>,
    /// Threads inside an operator.
    pub threads: usize,
    /// Tokens of padding included that one run may hold.
    pub max_padded_tokens: usize,
}

/// Opens the session of a model.
///
/// # Errors
/// `MODEL_UNSUPPORTED` (inputs or outputs that we do not know), `BAD_CHECKPOINT`, `DEVICE_UNAVAILABLE`.
pub fn load(_spec: &ModelSpec, _device: &str, _options: &OnnxOptions) -> Result<Arc<dyn Backend>> {
    Err(Error::internal("onnx"))
}

/// Path and version of the ONNX Runtime library in use, or why there is none (for `doctor`).
///
/// # Errors
/// The reason, as a sentence.
pub fn runtime(_options: &OnnxOptions) -> Result<(PathBuf, String), String> {
    Err("not loaded".to_owned())
}
