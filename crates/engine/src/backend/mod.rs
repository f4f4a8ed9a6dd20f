//! Running a model: a packed batch in, one pooled row per span out.
//!
//! A backend does not tokenize, does not normalise the final vector and knows nothing of calls.

pub mod candle;
pub mod cards;
pub mod head;
pub mod onnx;
pub mod pool;
pub mod static_table;
pub mod weights;

use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::Result;

/// What a backend tells of itself once it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// Where it really runs, such as `cpu`, `cuda:0` or `tensorrt`.
    pub device: String,
    /// Precision in which the weights are held, such as `float32` or `bfloat16`.
    pub dtype: String,
    /// Width of a pooled row.
    pub width: usize,
    /// Bytes of weights held in memory.
    pub weight_bytes: u64,
}

/// A loaded model.
pub trait Backend: Send + Sync {
    /// What was loaded, and where.
    fn info(&self) -> &BackendInfo;

    /// Tokens of a batch where the options do not say, if the model knows better than its device tells.
    fn tokens_per_batch(&self) -> Option<usize> {
        None
    }

    /// Batches that it takes at once, each on a thread of its own: more than one where the next is made ready
    /// while one runs, or where there are several devices.
    fn lanes(&self) -> usize {
        1
    }

    /// Warnings since the last time it was asked, for people.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Runs a batch and pools it: `batch.spans.len() * width` values, rows in the order of the spans.
    ///
    /// Looks at `cancel` often enough to stop within 200 ms on a model of 0.5 B parameters.
    ///
    /// # Errors
    /// `ABORTED` once cancelled; `OUT_OF_MEMORY`; `INTERNAL`.
    fn run(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>>;
}
