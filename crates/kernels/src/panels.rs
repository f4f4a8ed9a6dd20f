//! Weights in the layout that the kernels read.
//!
//! A panel holds [`COLUMNS`] outputs of the layer, input by input: the weights of input 0 for all of its
//! outputs, then those of input 1, and so on. A step of a panel is one 32-bit word for each output: one
//! f32 weight, or two neighbouring bf16 weights of which the lower half is the first. Missing outputs of
//! the last panel, and the missing half of the last pair, are zero.

use std::collections::TryReserveError;

use half::bf16;
use rayon::prelude::*;

use crate::simd::Line;

/// Outputs of a panel: two registers of AVX-512.
pub(crate) const COLUMNS: usize = 32;

/// Lines of a step.
pub(crate) const LINES: usize = COLUMNS / 16;

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes a weight.
    F32,
    /// 2 bytes a weight, 8 bits of mantissa. Where the CPU multiplies bf16 ([`crate::Isa::multiplies_bf16`]),
    /// activations are rounded to bf16 as well; sums are f32 always.
    Bf16,
}

impl Precision {
    /// Weights of one output in a word.
    pub(crate) fn weights_per_word(self) -> usize {
        match self {
            Precision::F32 => 1,
            Precision::Bf16 => 2,
        }
    }
}

/// A packed weight matrix.
pub(crate) struct Panels {
    lines: Vec<Line>,
    precision: Precision,
    outputs: usize,
    inputs: usize,
}

impl Panels {
    /// A matrix of zeros.
    pub(crate) fn zeros(outputs: usize, inputs: usize, precision: Precision) -> Result<Self, TryReserveError> {
        let panels = Panels { lines: Vec::new(), precision, outputs, inputs };
        let mut lines = Vec::new();
        let count = panels.count() * panels.panel_lines();
        lines.try_reserve_exact(count)?;
        lines.resize(count, Line::default());
        Ok(Panels { lines, ..panels })
    }

    /// Steps of a panel.
    pub(crate) fn steps(&self) -> usize {
        self.inputs.div_ceil(self.precision.weights_per_word())
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.outputs.div_ceil(COLUMNS)
    }

    fn panel_lines(&self) -> usize {
        self.steps() * LINES
    }

    /// Rows of the weight matrix.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the weight matrix.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// Steps `steps` of a panel.
    pub(crate) fn block(&self, panel: usize, steps: std::ops::Range<usize>) -> &[Line] {
        let start = panel * self.panel_lines();
        &self.lines[start + steps.start * LINES..start + steps.end * LINES]
    }

    /// Sets all weights: `read(output, row)` fills the row of one output with its weights. Called from the
    /// threads of the current pool, once for each output.
    pub(crate) fn fill<E: Send>(&mut self, read: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync) -> Result<(), E> {
        let Panels { precision, outputs, inputs, .. } = *self;
        let panel_lines = self.panel_lines();
        if panel_lines == 0 {
            return Ok(());
        }
        self.lines.par_chunks_mut(panel_lines).enumerate().try_for_each_init(
            || vec![0f32; inputs],
            |row, (panel, lines)| {
                for column in 0..COLUMNS.min(outputs - panel * COLUMNS) {
                    read(panel * COLUMNS + column, row)?;
                    let words = lines[column / 16..].iter_mut().step_by(LINES).map(|line| &mut line.0[column % 16]);
                    match precision {
                        Precision::F32 => {
                            for (word, value) in words.zip(row.iter()) {
                                *word = value.to_bits();
                            }
                        }
                        Precision::Bf16 => {
                            for (word, pair) in words.zip(row.chunks(2)) {
                                *word = pair_of(pair);
                            }
                        }
                    }
                }
                Ok(())
            },
        )
    }
}

/// One or two values, rounded to bf16, in a word.
pub(crate) fn pair_of(values: &[f32]) -> u32 {
    let half = |at: usize| u32::from(values.get(at).map_or(0, |value| bf16::from_f32(*value).to_bits()));
    half(0) | half(1) << 16
}
