//! What an encoder is to the backend: a packed batch in, the last hidden states out.

use super::parts::{Parts, Run};
use crate::batch::PackedBatch;
use crate::error::Result;

/// A loaded encoder, written in terms of [`Parts`]. A new model family is one implementation of this.
pub trait Encoder<P: Parts>: Send + Sync {
    /// Width of the hidden states.
    fn width(&self) -> usize;

    /// The last hidden state of each row that `run` wants: of each token, in the order of `batch.ids`, if it does
    /// not say.
    ///
    /// # Errors
    /// `ABORTED` once cancelled; `OUT_OF_MEMORY`.
    fn run(&self, parts: &P, batch: &PackedBatch, run: &Run<'_>) -> Result<P::Rows>;
}
