//! Texts to unit vectors, by the engine or by whatever else computes them.

use std::sync::Arc;
use std::sync::mpsc::channel;

use embedding_engine::engine::{EmbedRequest, Engine, Event, ModelReport, OnEvent, Texts};
use embedding_engine::finish::{Precision, Vectors};
use embedding_engine::model::Task;
use embedding_engine::{Cancel, Code, Error, Result};

/// Vectors, one after another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Width of a vector.
    pub dimensions: usize,
    /// The components of all vectors.
    pub data: Vec<f32>,
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.dimensions).unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Vector `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.dimensions..][..self.dimensions]
    }

    /// Puts `rows` after these, each made as long as 1, so that products are cosines.
    ///
    /// # Errors
    /// `NON_FINITE` for a vector without direction, `INTERNAL` where the widths differ.
    pub fn append(&mut self, rows: &Rows) -> Result<()> {
        if self.data.is_empty() {
            self.dimensions = rows.dimensions;
        }
        if rows.dimensions == 0
            || rows.dimensions != self.dimensions
            || !rows.data.len().is_multiple_of(rows.dimensions)
        {
            let (ours, theirs) = (self.dimensions, rows.dimensions);
            return Err(Error::internal(format!("Vectors of {theirs} components came after some of {ours}.")));
        }
        for row in rows.data.chunks_exact(rows.dimensions) {
            let norm = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            if !norm.is_finite() || norm == 0.0 {
                return Err(Error::new(Code::NonFinite, format!("A vector has the length {norm}: it ranks nothing.")));
            }
            self.data.extend(row.iter().map(|x| (f64::from(*x) / norm) as f32));
        }
        Ok(())
    }
}

/// What computes vectors of texts.
pub trait VectorModel {
    /// A vector for each text, in order.
    ///
    /// # Errors
    /// Whatever computing them fails with.
    fn embed(&mut self, texts: Vec<String>, task: Task) -> Result<Rows>;

    /// What computed them, once something was embedded.
    fn model(&self) -> Option<ModelReport> {
        None
    }

    /// Tokens of all texts so far; 0 where nobody counts.
    fn tokens(&self) -> u64 {
        0
    }

    /// The space of the vectors, once something was embedded.
    fn space(&self) -> Option<String> {
        None
    }
}

impl<F: FnMut(Vec<String>, Task) -> Result<Rows>> VectorModel for F {
    fn embed(&mut self, texts: Vec<String>, task: Task) -> Result<Rows> {
        self(texts, task)
    }
}

/// The engine, with the options of a call.
pub struct EngineModel {
    engine: Engine,
    request: EmbedRequest,
    cancel: Cancel,
    progress: Option<OnEvent>,
    used: Option<(ModelReport, String)>,
    tokens: u64,
}

impl EngineModel {
    /// Of `request` task, precision and normalisation are ours: what is compared are cosines of float32.
    pub fn new(engine: Engine, request: EmbedRequest, cancel: Cancel, progress: Option<OnEvent>) -> Self {
        // The progress of one batch is none of the whole.
        let progress = progress.map(|target| -> OnEvent {
            Arc::new(move |event| {
                if !matches!(event, Event::Embedding { .. }) {
                    target(event);
                }
            })
        });
        EngineModel { engine, request, cancel, progress, used: None, tokens: 0 }
    }
}

impl VectorModel for EngineModel {
    fn embed(&mut self, texts: Vec<String>, task: Task) -> Result<Rows> {
        let request = EmbedRequest {
            task,
            precision: Precision::Float32,
            normalize: true,
            chunks: None,
            wait: true,
            ..self.request.clone()
        };
        let (sender, receiver) = channel();
        let texts: Texts = texts.iter().collect();
        self.engine.embed(request, texts, &self.cancel, self.progress.clone(), move |result| {
            let _ = sender.send(result);
        });
        let output = receiver.recv().unwrap_or_else(|_| Err(Error::internal("A call ended without a result.")))?;
        let Vectors::F32(data) = output.vectors else {
            return Err(Error::internal("The engine gave no float32 vectors."));
        };
        // A batch of another space would be ranked against these.
        if self.request.space.is_none() {
            self.request.space = Some(output.space.clone());
        }
        self.tokens += output.tokens_per_text.iter().map(|tokens| u64::from(*tokens)).sum::<u64>();
        self.used = Some((output.model, output.space));
        Ok(Rows { dimensions: output.dimensions, data })
    }

    fn model(&self) -> Option<ModelReport> {
        self.used.as_ref().map(|(model, _)| model.clone())
    }

    fn tokens(&self) -> u64 {
        self.tokens
    }

    fn space(&self) -> Option<String> {
        self.used.as_ref().map(|(_, space)| space.clone())
    }
}
