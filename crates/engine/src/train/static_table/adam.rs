//! Adam over the whole table, and the gradients that it takes.

use pulp::Arch;
use rayon::prelude::*;

use super::kernels::{add_scaled, dot};
use super::minibatch::ByToken;
use super::options::Adam;
use super::table::Table;

/// Rows that one task updates.
const ROWS: usize = 16;

/// The running means of gradients and of their squares.
///
/// Updates are dense by default: that is Adam as published, and what libraries without sparse gradients do, so that
/// published learning rates carry over. One pass over each row both sums its gradient and updates it, so that the
/// gradient of the table is never in memory.
pub(super) struct Moments {
    rows: [Vec<f32>; 2],
    weights: [Vec<f32>; 2],
    steps: i32,
}

/// What one step multiplies with.
#[derive(Clone, Copy)]
struct Step {
    beta: [f32; 2],
    /// 1 / (1 − βᵗ)
    correction: [f32; 2],
    epsilon: f32,
}

impl Step {
    #[inline(always)]
    fn update(self, value: &mut f32, moments: [&mut f32; 2], gradient: f32, rate: f32) {
        let [mean, square] = moments;
        *mean = self.beta[0] * *mean + (1.0 - self.beta[0]) * gradient;
        *square = self.beta[1] * *square + (1.0 - self.beta[1]) * (gradient * gradient);
        *value -= rate * (*mean * self.correction[0]) / ((*square * self.correction[1]).sqrt() + self.epsilon);
    }
}

impl Moments {
    /// For a table that no step has changed yet.
    pub(super) fn new(table: &Table) -> Self {
        let pair = |len| [vec![0.0; len], vec![0.0; len]];
        Moments { rows: pair(table.rows.len()), weights: pair(table.weights.len()), steps: 0 }
    }

    /// One step. `sums` is the gradient of the loss by the texts' sums (texts × width), `by_token` their
    /// tokens; `rates` are the learning rates of rows and of weights.
    pub(super) fn step(&mut self, table: &mut Table, by_token: &ByToken, sums: &[f32], rates: [f32; 2], adam: Adam) {
        self.steps = self.steps.saturating_add(1);
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(self.steps))) as f32;
        let step = Step {
            beta: [adam.beta1, adam.beta2],
            correction: [correction(adam.beta1), correction(adam.beta2)],
            epsilon: adam.epsilon,
        };
        let width = table.width;
        let [row_means, row_squares] = &mut self.rows;
        let [weight_means, weight_squares] = &mut self.weights;
        table
            .rows
            .par_chunks_mut(ROWS * width)
            .zip(row_means.par_chunks_mut(ROWS * width).zip(row_squares.par_chunks_mut(ROWS * width)))
            .zip(table.weights.par_chunks_mut(ROWS))
            .zip(weight_means.par_chunks_mut(ROWS).zip(weight_squares.par_chunks_mut(ROWS)))
            .enumerate()
            .for_each_init(
                || vec![0f32; width],
                |gradient, (block, (((rows, moments), weights), weight_moments))| {
                    Arch::new().dispatch(
                        #[inline(always)]
                        || {
                            for (index, weight) in weights.iter_mut().enumerate() {
                                let range = index * width..(index + 1) * width;
                                let row = &mut rows[range.clone()];
                                let entries = by_token.entries(block * ROWS + index);
                                if adam.lazy && entries.is_empty() {
                                    continue;
                                }
                                let by_weight = row_gradient(entries, sums, row, *weight, gradient);
                                let means = moments.0[range.clone()].iter_mut();
                                let squares = moments.1[range].iter_mut();
                                for ((value, gradient), (mean, square)) in
                                    row.iter_mut().zip(gradient.iter()).zip(means.zip(squares))
                                {
                                    step.update(value, [mean, square], *gradient, rates[0]);
                                }
                                let moments = [&mut weight_moments.0[index], &mut weight_moments.1[index]];
                                step.update(weight, moments, by_weight, rates[1]);
                            }
                        },
                    );
                },
            );
    }
}

/// The gradient of one token's row, into `gradient`, and that of its weight.
///
/// A text's sum is Σ count · weight · row: with g = Σ count · (gradient of the text's sum), the row's is weight · g
/// and the weight's is row · g.
#[inline(always)]
pub(super) fn row_gradient(
    entries: &[(u32, f32)],
    sums: &[f32],
    row: &[f32],
    weight: f32,
    gradient: &mut [f32],
) -> f32 {
    let width = gradient.len();
    gradient.fill(0.0);
    for (text, count) in entries {
        add_scaled(gradient, &sums[*text as usize * width..][..width], *count);
    }
    let by_weight = dot(row, gradient);
    gradient.iter_mut().for_each(|value| *value *= weight);
    by_weight
}
