//! Symmetric InfoNCE (van den Oord et al., 2018; both directions as in CLIP, Radford et al., 2021) with
//! Matryoshka cuts (Kusupati et al., 2022), and its gradient.

use pulp::Arch;
use rayon::prelude::*;

use super::kernels::{add_scaled, dot, exp, log_sum_exp, max};
use super::matmul::{Matrix, product};

/// Texts that one task works on.
const TEXTS: usize = 32;

/// Columns of the logits that one task sums, side by side.
const COLUMNS: usize = 64;

/// The loss of a batch of n pairs: for each width, the first dimensions of every text are cut and brought to unit
/// length, and logits are cosines over the temperature. The loss is the mean of −ln softmax of the right pair among
/// the n documents, and among the n queries; half of the sum of both, times the width's weight, summed over widths.
///
/// Holds the buffers between steps.
pub(super) struct Contrast {
    widths: Vec<(usize, f32)>,
    temperature: f32,
    /// Unit vectors of queries, then documents.
    units: Vec<f32>,
    norms: Vec<f32>,
    logits: Vec<f32>,
    /// ln Σ e^logit of each row and each column.
    row_sums: Vec<f32>,
    column_sums: Vec<f32>,
    /// Gradient by the unit vectors.
    by_units: Vec<f32>,
}

impl Contrast {
    /// With the widths, each with the weight of its loss.
    pub(super) fn new(widths: &[(usize, f32)], temperature: f32) -> Self {
        Contrast {
            widths: widths.to_vec(),
            temperature,
            units: Vec::new(),
            norms: Vec::new(),
            logits: Vec::new(),
            row_sums: Vec::new(),
            column_sums: Vec::new(),
            by_units: Vec::new(),
        }
    }

    /// The loss. `sums` are the texts' sums (n queries, then n documents); their gradient goes to `gradient`.
    pub(super) fn loss(&mut self, sums: &[f32], width: usize, gradient: &mut [f32]) -> f64 {
        gradient.fill(0.0);
        let texts = sums.len() / width;
        let mut loss = 0.0;
        for (cut, weight) in self.widths.clone() {
            self.normalise(sums, width, texts, cut);
            self.compare(texts / 2, cut);
            loss += f64::from(weight) * self.cross_entropy(texts / 2);
            self.backward(texts / 2, cut, weight);
            self.denormalise(width, cut, gradient);
        }
        loss
    }

    fn normalise(&mut self, sums: &[f32], width: usize, texts: usize, cut: usize) {
        self.norms.resize(texts, 0.0);
        self.units.resize(texts * cut, 0.0);
        let blocks = self.units.par_chunks_mut(TEXTS * cut).zip(self.norms.par_chunks_mut(TEXTS));
        blocks.zip(sums.par_chunks(TEXTS * width)).for_each(|((units, norms), sums)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    let texts = units.chunks_exact_mut(cut).zip(norms).zip(sums.chunks_exact(width));
                    for ((unit, norm), sum) in texts {
                        *norm = normalise(&sum[..cut], unit);
                    }
                },
            );
        });
    }

    fn compare(&mut self, pairs: usize, cut: usize) {
        self.logits.resize(pairs * pairs, 0.0);
        self.row_sums.resize(pairs, 0.0);
        self.column_sums.resize(pairs, 0.0);
        let (queries, documents) = self.units.split_at(pairs * cut);
        let documents = Matrix::new(documents, pairs, cut).transposed();
        product(&mut self.logits, Matrix::new(queries, pairs, cut), documents, 1.0 / self.temperature);
        self.row_sums.par_chunks_mut(TEXTS).zip(self.logits.par_chunks(TEXTS * pairs)).for_each(|(sums, logits)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (sum, logits) in sums.iter_mut().zip(logits.chunks_exact(pairs)) {
                        *sum = log_sum_exp(logits);
                    }
                },
            );
        });
        let logits = &self.logits;
        self.column_sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(block, sums)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    let rows = || logits.chunks_exact(pairs).map(|row| &row[block * COLUMNS..][..sums.len()]);
                    let mut highest = [f32::NEG_INFINITY; COLUMNS];
                    for row in rows() {
                        highest.iter_mut().zip(row).for_each(|(highest, logit)| *highest = max(*logit, *highest));
                    }
                    let mut total = [0f32; COLUMNS];
                    for row in rows() {
                        for ((total, highest), logit) in total.iter_mut().zip(&highest).zip(row) {
                            *total += exp(logit - highest);
                        }
                    }
                    for ((sum, highest), total) in sums.iter_mut().zip(&highest).zip(&total) {
                        *sum = highest + total.ln();
                    }
                },
            );
        });
    }

    fn cross_entropy(&self, pairs: usize) -> f64 {
        let sums = self.row_sums.iter().zip(&self.column_sums).enumerate();
        let total = sums.map(|(pair, (row, column))| {
            f64::from(*row) + f64::from(*column) - 2.0 * f64::from(self.logits[pair * (pairs + 1)])
        });
        total.sum::<f64>() / (2 * pairs) as f64
    }

    /// Logits become their gradient by the cosines, from which follows that by the unit vectors.
    fn backward(&mut self, pairs: usize, cut: usize, weight: f32) {
        let scale = weight / (2.0 * pairs as f32 * self.temperature);
        let (row_sums, column_sums) = (&self.row_sums, &self.column_sums);
        self.logits.par_chunks_mut(TEXTS * pairs).enumerate().for_each(|(block, logits)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (index, logits) in logits.chunks_exact_mut(pairs).enumerate() {
                        let row = block * TEXTS + index;
                        let row_sum = row_sums[row];
                        for (logit, column_sum) in logits.iter_mut().zip(column_sums) {
                            *logit = scale * (exp(*logit - row_sum) + exp(*logit - column_sum));
                        }
                        logits[row] -= 2.0 * scale;
                    }
                },
            );
        });
        self.by_units.resize(2 * pairs * cut, 0.0);
        let (queries, documents) = self.units.split_at(pairs * cut);
        let (by_queries, by_documents) = self.by_units.split_at_mut(pairs * cut);
        let by_logits = Matrix::new(&self.logits, pairs, pairs);
        product(by_queries, by_logits, Matrix::new(documents, pairs, cut), 1.0);
        product(by_documents, by_logits.transposed(), Matrix::new(queries, pairs, cut), 1.0);
    }

    fn denormalise(&self, width: usize, cut: usize, gradient: &mut [f32]) {
        let blocks = gradient.par_chunks_mut(TEXTS * width).zip(self.norms.par_chunks(TEXTS));
        let units = self.units.par_chunks(TEXTS * cut).zip(self.by_units.par_chunks(TEXTS * cut));
        blocks.zip(units).for_each(|((gradient, norms), (units, by_units))| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    let texts = gradient.chunks_exact_mut(width).zip(norms);
                    let units = units.chunks_exact(cut).zip(by_units.chunks_exact(cut));
                    for ((gradient, norm), (unit, by_unit)) in texts.zip(units) {
                        denormalise(unit, *norm, by_unit, &mut gradient[..cut]);
                    }
                },
            );
        });
    }
}

/// Below this length a sum has no direction: its vector is zeros here, and nothing is learned from it.
const SHORTEST: f32 = 1e-12;

/// `unit = sum / |sum|`; gives the length, 0 where there is no direction.
#[inline(always)]
pub(super) fn normalise(sum: &[f32], unit: &mut [f32]) -> f32 {
    let norm = dot(sum, sum).sqrt();
    if norm < SHORTEST {
        unit.fill(0.0);
        return 0.0;
    }
    // An overflow must show in the loss: divided by infinity it would look like a text without direction.
    let scale = if norm.is_finite() { 1.0 / norm } else { f32::NAN };
    unit.iter_mut().zip(sum).for_each(|(unit, sum)| *unit = sum * scale);
    norm
}

/// Adds to `gradient` that by the sum, given that by the unit vector: (g − (g · unit) unit) / |sum|.
#[inline(always)]
pub(super) fn denormalise(unit: &[f32], norm: f32, by_unit: &[f32], gradient: &mut [f32]) {
    if norm == 0.0 {
        return;
    }
    let scale = 1.0 / norm;
    add_scaled(gradient, by_unit, scale);
    add_scaled(gradient, unit, -dot(by_unit, unit) * scale);
}
