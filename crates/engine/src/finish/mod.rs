//! From pooled rows to the vectors that a caller gets: Matryoshka cut, L2, quantisation, and the
//! final check. Knows nothing of models.

mod quantize;

use serde::Deserialize;

use crate::error::{Code, Error, Result};

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

impl Precision {
    /// How many elements a vector of `dimensions` components takes: bits are packed by eight, the
    /// last byte filled up with zeros.
    pub fn elements(self, dimensions: usize) -> usize {
        match self {
            Precision::Float32 | Precision::Int8 | Precision::Uint8 => dimensions,
            Precision::Binary | Precision::Ubinary => dimensions.div_ceil(8),
        }
    }
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

impl Vectors {
    /// Room for `rows` vectors, all zero; filled by [`Vectors::copy_row`].
    ///
    /// # Errors
    /// `OUT_OF_MEMORY` where the allocation is refused.
    pub fn zeroed(precision: Precision, rows: usize, dimensions: usize) -> Result<Self> {
        let elements = rows.checked_mul(precision.elements(dimensions));
        Ok(match precision {
            Precision::Float32 => Vectors::F32(zeroed(elements)?),
            Precision::Int8 | Precision::Binary => Vectors::I8(zeroed(elements)?),
            Precision::Uint8 | Precision::Ubinary => Vectors::U8(zeroed(elements)?),
        })
    }

    /// Number of elements of all rows together.
    pub fn len(&self) -> usize {
        match self {
            Vectors::F32(values) => values.len(),
            Vectors::I8(values) => values.len(),
            Vectors::U8(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies row `from` of `source` to row `to`; a row has `elements` elements.
    ///
    /// # Errors
    /// `INTERNAL` if the two are not of the same type, or if a row lies outside.
    pub fn copy_row(&mut self, to: usize, source: &Vectors, from: usize, elements: usize) -> Result<()> {
        fn copy<T: Copy>(target: &mut [T], to: usize, source: &[T], from: usize, elements: usize) -> Option<()> {
            let source = source.get(from * elements..(from + 1) * elements)?;
            target.get_mut(to * elements..(to + 1) * elements)?.copy_from_slice(source);
            Some(())
        }
        match (self, source) {
            (Vectors::F32(target), Vectors::F32(source)) => copy(target, to, source, from, elements),
            (Vectors::I8(target), Vectors::I8(source)) => copy(target, to, source, from, elements),
            (Vectors::U8(target), Vectors::U8(source)) => copy(target, to, source, from, elements),
            _ => None,
        }
        .ok_or_else(|| Error::internal(format!("row {from} cannot be copied to row {to} of the result")))
    }
}

fn zeroed<T: Clone + Default>(elements: Option<usize>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let reserved = elements.is_some_and(|elements| values.try_reserve_exact(elements).is_ok());
    match elements {
        Some(elements) if reserved => {
            values.resize(elements, T::default());
            Ok(values)
        }
        _ => Err(Error::new(
            Code::OutOfMemory,
            "The vectors of this call do not fit into memory. Embed fewer texts at a time (embedStream does it by \
             itself), or ask for fewer dimensions or a smaller precision.",
        )),
    }
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
/// Every row is checked before it is quantised, because quantising would hide a NaN. The norm is
/// computed in f64: in f32 the squares of a long row over- or underflow, and the sum loses digits.
///
/// # Errors
/// `NON_FINITE` with the row's index for NaN, infinity or a zero vector. `INTERNAL` if `rows` is no
/// whole number of rows, or narrower than `how.dimensions`.
pub fn finish(rows: &[f32], width: usize, how: Finish) -> Result<Vectors> {
    if width == 0 || how.dimensions == 0 || how.dimensions > width || !rows.len().is_multiple_of(width) {
        let len = rows.len();
        let dimensions = how.dimensions;
        return Err(Error::internal(format!("{len} values are no rows of {width} to be cut to {dimensions}")));
    }
    let mut finished = Vec::with_capacity(rows.len() / width * how.dimensions);
    for (index, row) in rows.chunks_exact(width).enumerate() {
        let row = &row[..how.dimensions];
        let norm = checked_norm(row, index)?;
        if how.normalize {
            finished.extend(row.iter().map(|&x| (f64::from(x) / norm) as f32));
        } else {
            finished.extend_from_slice(row);
        }
    }
    Ok(quantize::quantize(finished, how.dimensions, how.precision))
}

/// The L2 norm of a row that is fit to be returned.
fn checked_norm(row: &[f32], index: usize) -> Result<f64> {
    let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    // A NaN or an infinity anywhere makes the norm so as well: f32 values cannot overflow an f64 sum.
    if norm.is_finite() && norm > 0.0 {
        return Ok(norm);
    }
    let found = match row.iter().find(|x| !x.is_finite()) {
        Some(value) if value.is_nan() => "NaN",
        Some(_) => "infinity",
        None => "nothing but zeros",
    };
    Err(Error::new(
        Code::NonFinite,
        format!(
            "The model computed {found} for row {index}. No vector is returned, because none can be vouched for; \
             weights in float16 or a damaged model file are the usual causes."
        ),
    )
    .with("index", index)
    .with("found", found))
}

#[cfg(test)]
mod tests;
