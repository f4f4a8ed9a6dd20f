//! Pooling on the device: only the pooled rows are copied back.
//!
//! The formulas are those of [`crate::backend::pool`], in f32 in place of f64.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};

use crate::model::Pooling;

/// One row of `[width]` for each span of the rows `x`, in f32 on the host. The row of an empty span is NaN,
/// which the final check of the engine refuses.
pub(super) fn pool(x: &Tensor, spans: &[Range<usize>], pooling: Pooling) -> candle_core::Result<Vec<f32>> {
    let width = x.dim(1)?;
    let full: Vec<Range<usize>> = spans.iter().filter(|span| !span.is_empty()).cloned().collect();
    let mut rows = Vec::new();
    if !full.is_empty() {
        let pooled = match pooling {
            Pooling::Cls | Pooling::None => select(x, full.iter().map(|span| span.start))?,
            Pooling::LastToken => select(x, full.iter().map(|span| span.end - 1))?,
            _ => {
                let groups = full.chunk_by(|a, b| a.end == b.start && a.len() == b.len());
                Tensor::cat(
                    &groups.map(|group| reduce(x, group, pooling)).collect::<candle_core::Result<Vec<_>>>()?,
                    0,
                )?
            }
        };
        rows = pooled.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    }
    if full.len() == spans.len() {
        return Ok(rows);
    }
    let mut rows = rows.chunks_exact(width);
    let mut out = Vec::with_capacity(spans.len() * width);
    for span in spans {
        match if span.is_empty() { None } else { rows.next() } {
            Some(row) => out.extend_from_slice(row),
            None => out.extend(std::iter::repeat_n(f32::NAN, width)),
        }
    }
    Ok(out)
}

fn select(x: &Tensor, rows: impl Iterator<Item = usize>) -> candle_core::Result<Tensor> {
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let count = rows.len();
    x.index_select(&Tensor::from_vec(rows, count, x.device())?, 0)
}

/// Spans of one length that stand side by side.
fn reduce(x: &Tensor, group: &[Range<usize>], pooling: Pooling) -> candle_core::Result<Tensor> {
    let len = group[0].len();
    let rows = x.narrow(0, group[0].start, group.len() * len)?.reshape((group.len(), len, ()))?;
    let tokens = len as f64;
    match pooling {
        Pooling::Mean => sum(&rows)? / tokens,
        Pooling::MeanSqrtLen => sum(&rows)? / tokens.sqrt(),
        Pooling::WeightedMean => {
            let weights = Tensor::arange(1_f32, (len + 1) as f32, x.device())?.reshape((1, len, 1))?;
            sum(&rows.broadcast_mul(&weights)?)? / (tokens * (tokens + 1.0) / 2.0)
        }
        // A device's maximum passes over NaN; 0 times the sum is NaN if any value is, so that it is not hidden.
        _ => rows.max(1)? + (sum(&rows)? * 0.0)?,
    }
}

/// Sum over the tokens of `[spans, tokens, width]`, in two steps: errors of f32 then grow with the root of the
/// number of tokens.
fn sum(rows: &Tensor) -> candle_core::Result<Tensor> {
    let (spans, tokens, width) = rows.dims3()?;
    let step = (tokens as f64).sqrt() as usize;
    let whole = tokens / step * step;
    let first = rows.narrow(1, 0, whole)?.reshape((spans * (whole / step), step, width))?.sum(1)?;
    let first = first.reshape((spans, whole / step, width))?.sum(1)?;
    if whole == tokens { Ok(first) } else { first + rows.narrow(1, whole, tokens - whole)?.sum(D::Minus2)? }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

    use super::*;
    use crate::backend::pool::pool_rows;
    use crate::backend::pool::tests::{ALL, noise};

    #[test]
    fn agrees_with_pooling_on_the_host() {
        let (rows, width) = (5000, 3);
        let values = noise(rows * width);
        let x = Tensor::from_slice(&values, (rows, width), &Device::Cpu).unwrap();
        // Side by side, apart, overlapping, out of order, one token, all.
        let spans = [0..10, 10..20, 20..30, 40..47, 44..90, 3..4, 0..rows, 100..131];
        for pooling in ALL {
            let mut expected = Vec::new();
            pool_rows(&values, width, spans.iter().cloned(), pooling, &mut expected);
            let found = pool(&x, &spans, pooling).unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{pooling:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn neither_empty_spans_nor_nan_are_hidden() {
        let x = Tensor::new(&[[1f32, 5.0], [f32::NAN, 6.0], [2.0, 7.0]], &Device::Cpu).unwrap();
        for pooling in ALL {
            let rows = pool(&x, &[2..3, 1..1, 2..3], pooling).unwrap();
            assert_eq!(
                rows.iter().map(|value| value.is_nan()).collect::<Vec<_>>(),
                [false, false, true, true, false, false]
            );
            assert_eq!((rows[1], rows[5]), (7.0, 7.0));
        }
        assert!(pool(&x, &[0..3], Pooling::Max).unwrap()[0].is_nan());
        assert!(pool(&x, &[1..1], Pooling::Mean).unwrap().iter().all(|value| value.is_nan()));
    }
}
