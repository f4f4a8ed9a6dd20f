//! What the index asks of a model: vectors, and the space in which they lie.

use embedding_engine::engine::{EmbedOutput, EmbedRequest, Engine, OnEvent};
use embedding_engine::finish::{Precision, Vectors};
use embedding_engine::model::Task;
use embedding_engine::{Cancel, Error, Result};

/// What texts are embedded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Document,
    /// To find documents with.
    Query,
}

/// The vectors of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One row of `dimensions` components a text, in order, each of unit length.
    pub vectors: Vec<f32>,
    /// Components of a vector.
    pub dimensions: usize,
    /// Equal strings mean comparable vectors.
    pub space: String,
    /// What the model read, of all texts together.
    pub tokens: u64,
}

/// Told the result of a call, once, on any thread.
pub type Done = Box<dyn FnOnce(Result<Embedded>) + Send>;

/// Makes vectors of texts.
pub trait Embedder: Send + Sync + 'static {
    /// Embeds texts without waiting. After `cancel`, `done` is told `ABORTED` at once.
    ///
    /// `space`, if given, is the space in which the vectors must lie; else `SPACE_MISMATCH`.
    fn embed(
        &self,
        purpose: Purpose,
        texts: Vec<String>,
        space: Option<&str>,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: Done,
    );
}

/// A model of an engine.
pub struct EngineEmbedder {
    engine: Engine,
    request: EmbedRequest,
}

impl EngineEmbedder {
    /// `request` says which model, how many dimensions, whether long texts are cut, and perhaps the space; task,
    /// precision and normalisation are the index's own.
    ///
    /// # Errors
    /// `INVALID_OPTION` for the model `auto`, which is decided by the texts of each call.
    pub fn new(engine: Engine, request: EmbedRequest) -> Result<Self> {
        if request.model.as_deref() == Some("auto") {
            let message =
                "An index has one model for all of its texts. Name it: 'bundled', 'code' or 'text', not 'auto'.";
            return Err(Error::invalid_option("model", message).with("value", "auto"));
        }
        let own = EmbedRequest { precision: Precision::Float32, normalize: true, wait: true, ..request };
        Ok(EngineEmbedder { engine, request: own })
    }
}

impl Embedder for EngineEmbedder {
    fn embed(
        &self,
        purpose: Purpose,
        texts: Vec<String>,
        space: Option<&str>,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: Done,
    ) {
        let task = match purpose {
            Purpose::Document => Task::Document,
            Purpose::Query => Task::Query,
        };
        let space = self.request.space.clone().or_else(|| space.map(str::to_owned));
        let request = EmbedRequest { task, space, ..self.request.clone() };
        self.engine.embed(request, texts, cancel, progress, move |output| done(output.and_then(embedded)));
    }
}

fn embedded(output: EmbedOutput) -> Result<Embedded> {
    let EmbedOutput { vectors, dimensions, tokens_per_text, space, .. } = output;
    let Vectors::F32(vectors) = vectors else {
        return Err(Error::internal("The engine gave other vectors than float32."));
    };
    let tokens = tokens_per_text.into_iter().map(u64::from).sum();
    Ok(Embedded { vectors, dimensions, space, tokens })
}
