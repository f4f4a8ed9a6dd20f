//! What a call gives back.

use serde::Serialize;

use crate::finish::Vectors;
use crate::model::{Attention, BackendKind, License, Pooling};

/// The result of [`Engine::embed`](super::Engine::embed).
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedOutput {
    /// One row a text (or a chunk), in order; bits take an eighth of `dimensions` elements.
    pub vectors: Vectors,
    /// Width of a vector, in components.
    pub dimensions: usize,
    /// What the model read of each text: prompt, text, special and end tokens, after truncation.
    pub tokens_per_text: Vec<u32>,
    /// Whether each text was cut.
    pub truncated: Vec<bool>,
    /// What computed them.
    pub model: ModelReport,
    /// Equal strings mean comparable vectors.
    pub space: String,
}

/// A model, as it is really used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// Hub id, or the path as it was given.
    pub id: String,
    /// Commit of the hub repository; none for a plain folder.
    pub revision: Option<String>,
    /// Name of the fine-tune; none so far.
    pub adapter: Option<String>,
    /// What runs it.
    pub backend: BackendKind,
    /// Where it runs.
    pub device: String,
    /// Precision of the weights.
    pub dtype: String,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Whether tokens see the ones after them.
    pub attention: Attention,
    /// The longest text, in tokens, with all that is put around it.
    pub max_tokens: usize,
    /// The licence, where it is known.
    pub license: Option<License>,
}
