//! Pooling: the token rows of a span become one row.
//!
//! Formulas of sentence-transformers' `Pooling` module, without a mask, because there is no padding
//! here: a span holds real tokens only. Sums are taken in f64, so that the mean of 20,000 tokens is
//! as exact as that of two, and does not depend on how the rows were split among threads.

use std::ops::Range;

use crate::model::Pooling;

/// Pools the rows of each span of `hidden` and appends one row of `width` values to `out` per span,
/// in the order of `spans`.
///
/// `hidden` holds token rows of `width` values one after another; a span counts rows from the start
/// of `hidden`. [`Pooling::WeightedMean`] weighs by the position within the span.
/// [`Pooling::None`] takes the first row of the span: that of a graph which pooled by itself.
///
/// An empty span has no vector: its row is NaN, which the final check of the engine refuses.
///
/// # Panics
/// If `width` is 0 or a span reaches past the rows of `hidden`; batches are checked before they run.
pub fn pool_rows(
    hidden: &[f32],
    width: usize,
    spans: impl Iterator<Item = Range<usize>>,
    pooling: Pooling,
    out: &mut Vec<f32>,
) {
    let mut sums = Vec::new();
    for span in spans {
        if span.is_empty() {
            out.extend(std::iter::repeat_n(f32::NAN, width));
            continue;
        }
        let rows = &hidden[span.start * width..span.end * width];
        let tokens = span.len() as f64;
        match pooling {
            Pooling::Cls | Pooling::None => out.extend_from_slice(&rows[..width]),
            Pooling::LastToken => out.extend_from_slice(&rows[rows.len() - width..]),
            Pooling::Max => max(rows, width, out),
            Pooling::Mean => {
                sum(rows, width, &mut sums);
                push_scaled(&sums, tokens, out);
            }
            Pooling::MeanSqrtLen => {
                sum(rows, width, &mut sums);
                push_scaled(&sums, tokens.sqrt(), out);
            }
            Pooling::WeightedMean => {
                weighted_sum(rows, width, &mut sums);
                push_scaled(&sums, tokens * (tokens + 1.0) / 2.0, out);
            }
        }
    }
}

/// Sum of the rows.
fn sum(rows: &[f32], width: usize, sums: &mut Vec<f64>) {
    sums.clear();
    sums.resize(width, 0.0);
    for row in rows.chunks_exact(width) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
}

/// Sum of the rows, row `i` counted `i + 1` times.
fn weighted_sum(rows: &[f32], width: usize, sums: &mut Vec<f64>) {
    sums.clear();
    sums.resize(width, 0.0);
    for (index, row) in rows.chunks_exact(width).enumerate() {
        let weight = (index + 1) as f64;
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += weight * f64::from(value);
        }
    }
}

fn push_scaled(sums: &[f64], divisor: f64, out: &mut Vec<f32>) {
    out.extend(sums.iter().map(|&sum| (sum / divisor) as f32));
}

/// The largest value of each component. NaN wins, so that a broken token is not hidden.
fn max(rows: &[f32], width: usize, out: &mut Vec<f32>) {
    let start = out.len();
    out.extend_from_slice(&rows[..width]);
    let best = &mut out[start..];
    for row in rows[width..].chunks_exact(width) {
        for (best, &value) in best.iter_mut().zip(row) {
            if value > *best || value.is_nan() {
                *best = value;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every pooling there is.
    pub(in crate::backend) const ALL: [Pooling; 7] = [
        Pooling::LastToken,
        Pooling::Cls,
        Pooling::Mean,
        Pooling::Max,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
        Pooling::None,
    ];

    /// One component at a time, in f64, written as sentence-transformers words it.
    fn naive(hidden: &[f32], width: usize, span: Range<usize>, pooling: Pooling) -> Vec<f64> {
        (0..width)
            .map(|column| {
                let values: Vec<f64> = span.clone().map(|row| f64::from(hidden[row * width + column])).collect();
                let n = values.len() as f64;
                match pooling {
                    Pooling::Cls | Pooling::None => values[0],
                    Pooling::LastToken => values[values.len() - 1],
                    Pooling::Mean => values.iter().sum::<f64>() / n,
                    Pooling::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    Pooling::MeanSqrtLen => values.iter().sum::<f64>() / n.sqrt(),
                    Pooling::WeightedMean => {
                        let weights = (1..=values.len()).map(|weight| weight as f64);
                        let total: f64 = weights.clone().sum();
                        weights.zip(&values).map(|(weight, value)| weight * value).sum::<f64>() / total
                    }
                }
            })
            .collect()
    }

    fn pooled(hidden: &[f32], width: usize, spans: &[Range<usize>], pooling: Pooling) -> Vec<f32> {
        let mut out = Vec::new();
        pool_rows(hidden, width, spans.iter().cloned(), pooling, &mut out);
        out
    }

    /// Values in [-1, 1) without a random generator.
    pub(in crate::backend) fn noise(len: usize) -> Vec<f32> {
        (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn known_values() {
        let hidden = [1.0, -2.0, 3.0, 4.0, 5.0, 9.0];
        let whole = std::slice::from_ref(&(0..3));
        assert_eq!(pooled(&hidden, 2, whole, Pooling::Cls), [1.0, -2.0]);
        assert_eq!(pooled(&hidden, 2, whole, Pooling::LastToken), [5.0, 9.0]);
        assert_eq!(pooled(&hidden, 2, whole, Pooling::Max), [5.0, 9.0]);
        assert_eq!(pooled(&hidden, 2, whole, Pooling::Mean), [3.0, 11.0 / 3.0]);
        let root = 3f64.sqrt();
        assert_eq!(pooled(&hidden, 2, whole, Pooling::MeanSqrtLen), [(9.0 / root) as f32, (11.0 / root) as f32]);
        assert_eq!(pooled(&hidden, 2, whole, Pooling::WeightedMean), [22.0 / 6.0, 33.0 / 6.0]);
    }

    #[test]
    fn rows_are_appended_in_the_order_of_the_spans() {
        let hidden: Vec<f32> = (0..8).map(|value| value as f32).collect();
        let mut out = vec![-1.0];
        pool_rows(&hidden, 2, [3..4, 0..2, 0..2].into_iter(), Pooling::Mean, &mut out);
        assert_eq!(out, [-1.0, 6.0, 7.0, 1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn an_empty_span_is_never_a_plausible_vector() {
        for pooling in ALL {
            assert!(pooled(&[1.0, 2.0], 2, std::slice::from_ref(&(1..1)), pooling).iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn nan_is_not_hidden_by_max() {
        let hidden = [1.0, f32::NAN, 5.0];
        assert!(pooled(&hidden, 1, std::slice::from_ref(&(0..3)), Pooling::Max)[0].is_nan());
    }

    #[test]
    fn twenty_thousand_tokens_with_an_offset_stay_exact() {
        // A large common offset is what breaks a plain f32 sum.
        let (tokens, width) = (20_000, 16);
        let hidden: Vec<f32> = noise(tokens * width).iter().map(|value| value + 10.0).collect();
        for pooling in [Pooling::Mean, Pooling::WeightedMean, Pooling::MeanSqrtLen] {
            let expected = naive(&hidden, width, 0..tokens, pooling);
            for (ours, expected) in
                pooled(&hidden, width, std::slice::from_ref(&(0..tokens)), pooling).iter().zip(&expected)
            {
                let error = (f64::from(*ours) - expected).abs() / expected.abs();
                assert!(error < 1e-7, "{pooling:?}: {ours} instead of {expected}");
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_formulas(
            width in 1usize..9,
            rows in 1usize..40,
            cuts in prop::collection::vec((0usize..40, 1usize..40), 1..6),
            pooling in prop::sample::select(ALL.to_vec()),
        ) {
            let hidden = noise(width * rows);
            let spans: Vec<_> = cuts
                .into_iter()
                .map(|(start, len)| {
                    let start = start % rows;
                    start..(start + len).min(rows)
                })
                .collect();
            let ours = pooled(&hidden, width, &spans, pooling);
            prop_assert_eq!(ours.len(), spans.len() * width);
            for (row, span) in ours.chunks_exact(width).zip(spans) {
                for (ours, expected) in row.iter().zip(naive(&hidden, width, span, pooling)) {
                    prop_assert!((f64::from(*ours) - expected).abs() <= 1e-6);
                }
            }
        }
    }
}
