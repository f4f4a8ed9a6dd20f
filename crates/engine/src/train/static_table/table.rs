//! The table that is trained.

use pulp::Arch;

use super::bag::Bag;
use super::kernels::{add_scaled, dot};
use super::random::Random;

/// Standard deviation of a new table's values.
const DEVIATION: f32 = 0.05;

/// A static token table in f32: a text's vector is the sum of count · weight · row over its tokens, at
/// unit length.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Dimensions of a row.
    pub width: usize,
    /// One row for each token, row after row.
    pub rows: Vec<f32>,
    /// One weight for each token.
    pub weights: Vec<f32>,
}

impl Table {
    /// Rows from a normal distribution of deviation 0.05, weights of 1.
    pub fn random(vocabulary: usize, width: usize, seed: u64) -> Self {
        let mut random = Random::at(seed, &[]);
        let rows = (0..vocabulary * width).map(|_| random.normal() as f32 * DEVIATION).collect();
        Table { width, rows, weights: vec![1.0; vocabulary] }
    }

    /// Rows from a teacher's vectors of the tokens' strings, one after another: centred over the
    /// vocabulary, unit length, then scaled so that the values' deviation is 0.05. Weights of 1.
    ///
    /// A vector that equals the mean of all gives a row of zeros; one that is not finite spoils the
    /// mean, and [`fit`](super::fit) and [`distill`](super::distill) refuse the table.
    pub fn from_teacher(vectors: &[f32], width: usize) -> Self {
        let vocabulary = vectors.len().checked_div(width).unwrap_or(0);
        let mut mean = vec![0f64; width];
        for row in vectors.chunks_exact(width.max(1)) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / vocabulary as f64);
        }
        let mut rows = Vec::with_capacity(vocabulary * width);
        for row in vectors.chunks_exact(width.max(1)) {
            let centred = || row.iter().zip(&mean).map(|(value, mean)| f64::from(*value) - mean);
            let norm = centred().map(|value| value * value).sum::<f64>().sqrt();
            let scale = if norm == 0.0 { 0.0 } else { f64::from(DEVIATION) * (width as f64).sqrt() / norm };
            rows.extend(centred().map(|value| (value * scale) as f32));
        }
        Table { width, rows, weights: vec![1.0; vocabulary] }
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.weights.len()
    }

    /// Sets each token's weight to its idf over the mean idf of the tokens that occur in `bags`; tokens
    /// that do not occur get the highest weight of those that do. Ids beyond the table are passed over.
    ///
    /// idf = ln(1 + bags / bags with the token): above 0 also for a token that every bag has, as a weight
    /// of 0 would keep its row from learning.
    pub fn set_idf_weights<'a>(&mut self, bags: impl Iterator<Item = &'a Bag>) {
        let mut with = vec![0u64; self.vocabulary()];
        let mut all = 0u64;
        for bag in bags {
            all += 1;
            for id in &bag.ids {
                if let Some(with) = with.get_mut(*id as usize) {
                    *with += 1;
                }
            }
        }
        let idf = |with: u64| (all as f64 / with as f64).ln_1p();
        let seen = || with.iter().filter(|with| **with > 0).map(|with| idf(*with));
        let mean = seen().sum::<f64>() / seen().count().max(1) as f64;
        if mean == 0.0 {
            return; // no bags: nothing is known
        }
        let highest = seen().fold(0.0, f64::max);
        for (weight, with) in self.weights.iter_mut().zip(&with) {
            *weight = (if *with > 0 { idf(*with) } else { highest } / mean) as f32;
        }
    }

    /// The unit vector of `bag`, into `out` of the table's width.
    ///
    /// A bag whose rows sum to zero, such as an empty one, has no vector: `out` is then zeros, which
    /// the caller must not hand on.
    ///
    /// # Panics
    /// On an id beyond the table, or an `out` of another width.
    pub fn embed(&self, bag: &Bag, out: &mut [f32]) {
        assert_eq!(out.len(), self.width, "a vector has the table's width");
        Arch::new().dispatch(
            #[inline(always)]
            || {
                self.sum(&bag.ids, &bag.counts, out);
                let norm = dot(out, out).sqrt();
                if norm > 0.0 {
                    out.iter_mut().for_each(|value| *value /= norm);
                }
            },
        );
    }

    /// `out` = the sum of count · weight · row.
    #[inline(always)]
    pub(super) fn sum(&self, ids: &[u32], counts: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for (id, count) in ids.iter().zip(counts) {
            let id = *id as usize;
            add_scaled(out, &self.rows[id * self.width..][..self.width], count * self.weights[id]);
        }
    }
}
