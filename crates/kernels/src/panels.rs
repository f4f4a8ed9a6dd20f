//! Weights in the layout that the kernels read.
//!
//! A panel holds [`COLUMNS`] rows of the weight matrix, input by input: the weights of input 0 for all of its
//! columns, then those of input 1, and so on. A step of a panel is one 32-bit word for each column: one
//! f32 weight, two neighbouring bf16 weights or four neighbouring int8 weights, of which the lowest bits are
//! the first. Missing columns of the last panel, and the missing rest of the last word, are zero.
//!
//! Panels of int8 are cut into blocks of [`INT8_BLOCK`] steps, each after a step of its own that holds what the
//! sums begin with. Activations are multiplied as unsigned bytes, 128 too large: there stands −128 times the
//! sum of the block's weights.

use std::collections::TryReserveError;

use half::bf16;
use rayon::prelude::*;

use crate::simd::Line;

/// Columns of a panel: two registers of AVX-512.
pub(crate) const COLUMNS: usize = 32;

/// Lines of a step.
pub(crate) const LINES: usize = COLUMNS / 16;

/// Steps of a block of int8: 256 inputs, whose activations of one row share a scale.
pub(crate) const INT8_BLOCK: usize = 64;

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes a weight.
    F32,
    /// 2 bytes a weight, 8 bits of mantissa. Where the CPU multiplies bf16 ([`crate::Isa::multiplies_bf16`]),
    /// activations are rounded to bf16 as well; sums are f32 always.
    Bf16,
    /// 1 byte a weight, with one scale for each output. Activations are rounded to 8 bits when they come, with
    /// a scale for each row and each 256 inputs. Products are summed exactly within those 256 inputs, and in
    /// f32 beyond.
    ///
    /// Inputs are equalized first: each is multiplied with the largest magnitude among its weights, which are
    /// divided by it. Trained models have channels of large activations and small weights (what SmoothQuant,
    /// Xiao et al., 2023, measures on data); without it they would coarsen all others.
    Int8,
}

impl Precision {
    /// Weights of one column in a word.
    pub(crate) fn weights_per_word(self) -> usize {
        match self {
            Precision::F32 => 1,
            Precision::Bf16 => 2,
            Precision::Int8 => 4,
        }
    }

    /// Steps of a block, and steps that stand before each.
    fn block(self) -> (usize, usize) {
        match self {
            Precision::Int8 => (INT8_BLOCK, 1),
            _ => (usize::MAX, 0),
        }
    }
}

/// A packed weight matrix.
pub(crate) struct Panels {
    lines: Vec<Line>,
    /// What each column of each panel is multiplied with; for int8 only.
    scales: Vec<f32>,
    /// What each input is multiplied with before it is rounded; for int8 only.
    factors: Vec<f32>,
    precision: Precision,
    /// Whether columns `0..16` of a panel are gates, and `16..32` what they gate.
    gated: bool,
    rows: usize,
    inputs: usize,
}

impl Panels {
    /// A matrix of zeros. A gated one has the rows of the gate first, then as many others.
    pub(crate) fn zeros(
        rows: usize,
        inputs: usize,
        precision: Precision,
        gated: bool,
    ) -> Result<Self, TryReserveError> {
        let panels =
            Panels { lines: Vec::new(), scales: Vec::new(), factors: Vec::new(), precision, gated, rows, inputs };
        let mut lines = Vec::new();
        let count = panels.count() * panels.panel_lines();
        lines.try_reserve_exact(count)?;
        lines.resize(count, Line::default());
        let scales = match precision {
            Precision::Int8 => vec![0.0; panels.count() * COLUMNS],
            _ => Vec::new(),
        };
        let factors = match precision {
            Precision::Int8 => vec![1.0; inputs],
            _ => Vec::new(),
        };
        Ok(Panels { lines, scales, factors, ..panels })
    }

    /// Steps of a panel, without those that stand before blocks.
    pub(crate) fn steps(&self) -> usize {
        self.inputs.div_ceil(self.precision.weights_per_word())
    }

    /// Results of a panel.
    pub(crate) fn unit(&self) -> usize {
        if self.gated { COLUMNS / 2 } else { COLUMNS }
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.outputs().div_ceil(self.unit())
    }

    /// Width of the result.
    pub(crate) fn outputs(&self) -> usize {
        if self.gated { self.rows / 2 } else { self.rows }
    }

    /// Rows of the weight matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the weight matrix.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    pub(crate) fn is_gated(&self) -> bool {
        self.gated
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.lines[..]) + size_of_val(&self.scales[..]) + size_of_val(&self.factors[..])
    }

    /// Lines from one panel to the next.
    pub(crate) fn panel_lines(&self) -> usize {
        let (block, before) = self.precision.block();
        (self.steps() + before * self.steps().div_ceil(block)) * LINES
    }

    /// The panels from `panel` on, from one of their steps on, with what stands before it: a step that begins a
    /// block.
    pub(crate) fn from(&self, panel: usize, step: usize) -> &[Line] {
        let (block, before) = self.precision.block();
        &self.lines[panel * self.panel_lines() + (step + before * (step / block)) * LINES..]
    }

    /// What the columns of a panel are multiplied with, if anything.
    pub(crate) fn scales(&self, panel: usize) -> Option<&[f32; COLUMNS]> {
        self.scales.get(panel * COLUMNS..)?.first_chunk()
    }

    /// What each input is multiplied with before it is rounded.
    pub(crate) fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// Which row of the matrix a column of a panel is.
    pub(crate) fn row(&self, panel: usize, column: usize) -> Option<usize> {
        let unit = self.unit();
        let output = panel * unit + column % unit;
        (output < self.outputs()).then_some(column / unit * self.outputs() + output)
    }

    /// Sets all weights: `read(row, weights)` fills in the weights of one row. Called from the threads of the
    /// current pool, once for each row, twice for int8.
    pub(crate) fn fill<E: Send>(&mut self, read: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync) -> Result<(), E> {
        let panel_lines = self.panel_lines();
        if self.precision == Precision::Int8 {
            self.factors = equalize(self.rows, self.inputs, &read)?;
        }
        let mut lines = std::mem::take(&mut self.lines);
        let mut scales = std::mem::take(&mut self.scales);
        let this = &*self;
        let result = if panel_lines == 0 {
            Ok(())
        } else if this.precision == Precision::Int8 {
            lines.par_chunks_mut(panel_lines).zip(scales.par_chunks_mut(COLUMNS)).enumerate().try_for_each_init(
                || vec![0f32; this.inputs],
                |weights, (panel, (lines, scales))| {
                    for (column, scale) in scales.iter_mut().enumerate() {
                        if let Some(row) = this.row(panel, column) {
                            read(row, weights)?;
                            weights.iter_mut().zip(&this.factors).for_each(|(weight, factor)| *weight /= factor);
                            *scale = fill_int8(weights, words_of(lines, column));
                        }
                    }
                    Ok(())
                },
            )
        } else {
            lines.par_chunks_mut(panel_lines).enumerate().try_for_each_init(
                || vec![0f32; this.inputs],
                |weights, (panel, lines)| {
                    for column in 0..COLUMNS {
                        if let Some(row) = this.row(panel, column) {
                            read(row, weights)?;
                            fill_float(weights, this.precision, words_of(lines, column));
                        }
                    }
                    Ok(())
                },
            )
        };
        self.lines = lines;
        self.scales = scales;
        result
    }
}

/// The largest magnitude of each column of a matrix, as a multiple of their mean.
fn equalize<E: Send>(
    rows: usize,
    inputs: usize,
    read: &(impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync),
) -> Result<Vec<f32>, E> {
    let nothing = || vec![0f32; inputs];
    let larger = |mut most: Vec<f32>, others: &[f32]| {
        most.iter_mut().zip(others).for_each(|(most, other)| *most = most.max(other.abs()));
        most
    };
    let mut factors = (0..rows)
        .into_par_iter()
        .try_fold(
            || (nothing(), nothing()),
            |(most, mut weights), row| {
                read(row, &mut weights)?;
                Ok((larger(most, &weights), weights))
            },
        )
        .map(|folded| folded.map(|(most, _)| most))
        .try_reduce(nothing, |a, b| Ok(larger(a, &b)))?;
    let mean = factors.iter().map(|factor| f64::from(*factor)).sum::<f64>() / inputs.max(1) as f64;
    for factor in &mut factors {
        // An input without weights does not matter, and must not end in 0 / 0.
        *factor = if *factor > 0.0 { (f64::from(*factor) / mean) as f32 } else { 1.0 };
    }
    Ok(factors)
}

/// The words of one column, step by step.
fn words_of(lines: &mut [Line], column: usize) -> impl Iterator<Item = &mut u32> {
    lines[column / 16..].iter_mut().step_by(LINES).map(move |line| &mut line.0[column % 16])
}

fn fill_float<'a>(weights: &[f32], precision: Precision, words: impl Iterator<Item = &'a mut u32>) {
    match precision {
        Precision::Bf16 => words.zip(weights.chunks(2)).for_each(|(word, pair)| *word = pair_of(pair)),
        _ => words.zip(weights).for_each(|(word, value)| *word = value.to_bits()),
    }
}

/// Rounds a row to −127..127 and gives what that is to be multiplied with.
fn fill_int8<'a>(weights: &[f32], mut words: impl Iterator<Item = &'a mut u32>) -> f32 {
    let most = weights.iter().fold(0f32, |most, weight| most.max(weight.abs()));
    if most == 0.0 || !most.is_finite() {
        // Weights that are not finite make every result so.
        return most;
    }
    let inverse = 127.0 / most;
    for block in weights.chunks(4 * INT8_BLOCK) {
        let Some(before) = words.next() else { break };
        let mut sum = 0;
        for four in block.chunks(4) {
            let Some(word) = words.next() else { break };
            *word = four.iter().rev().fold(0, |word, weight| {
                let rounded = round(weight * inverse);
                sum += i32::from(rounded);
                word << 8 | u32::from(rounded.cast_unsigned())
            });
        }
        *before = (-128 * sum).cast_unsigned();
    }
    most / 127.0
}

/// The nearest integer to a value within −127..127, ties to even, without the call into the C library that
/// `round_ties_even` is on many targets.
fn round(value: f32) -> i8 {
    // 1.5 · 2²³: the sum has its integer in the lowest bits.
    (value + 12_582_912.0).to_bits() as i8
}

/// One or two values, rounded to bf16, in a word.
pub(crate) fn pair_of(values: &[f32]) -> u32 {
    let half = |at: usize| u32::from(values.get(at).map_or(0, |value| bf16::from_f32(*value).to_bits()));
    half(0) | half(1) << 16
}
