//! Keys and values in the layout that the kernels read.
//!
//! Keys are weights of a layer with one output for each key and `head_dim` inputs; values those of a layer
//! with `head_dim` outputs and one input for each key. For each head of each sequence the panels of keys
//! come first, then those of values.

use half::bf16;
use rayon::prelude::*;

use super::{Attention, Task};
use crate::isa::Isa;
use crate::linear::Precision;
use crate::panels::{COLUMNS, LINES};
use crate::simd::{Line, words_mut};

/// Where everything lies.
pub(super) struct Layout<'a> {
    attention: &'a Attention,
    cumulative: &'a [u32],
    /// How values are held: bf16 only where the CPU multiplies it.
    pub(super) values: Precision,
}

/// The packed keys and values of one head of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    keys: &'a [Line],
    values: &'a [Line],
    head_dim: usize,
    /// Steps of a panel of values.
    steps: usize,
    /// How values are held.
    pub(super) precision: Precision,
}

impl<'a> Layout<'a> {
    pub(super) fn new(attention: &'a Attention, cumulative: &'a [u32], isa: Isa) -> Self {
        let values = match attention.values {
            Precision::Bf16 if isa.multiplies_bf16() => Precision::Bf16,
            _ => Precision::F32,
        };
        Layout { attention, cumulative, values }
    }

    /// Lines of all heads.
    pub(super) fn lines(&self) -> usize {
        self.lengths().map(|len| self.head_lines(len) * self.attention.kv_heads).sum()
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.cumulative.windows(2).map(|rows| (rows[1] - rows[0]) as usize)
    }

    /// Steps of a panel of values.
    fn steps(&self, len: usize) -> usize {
        len.div_ceil(self.values.weights_per_word())
    }

    fn key_lines(&self, len: usize) -> usize {
        len.div_ceil(COLUMNS) * self.attention.head_dim * LINES
    }

    /// Lines of one head of a sequence of `len` tokens.
    pub(super) fn head_lines(&self, len: usize) -> usize {
        self.key_lines(len) + self.attention.head_dim.div_ceil(COLUMNS) * self.steps(len) * LINES
    }

    /// Brings all keys and values into their places.
    pub(super) fn pack(&self, qkv: &[f32], lines: &mut [Line]) {
        let Attention { kv_heads, head_dim, .. } = *self.attention;
        let width = self.attention.row_width();
        let mut rest = lines;
        let mut heads = Vec::with_capacity((self.cumulative.len().saturating_sub(1)) * kv_heads);
        for (len, rows) in self.lengths().zip(self.cumulative) {
            for head in 0..kv_heads {
                let (lines, after) = rest.split_at_mut(self.head_lines(len));
                rest = after;
                heads.push((*rows as usize, len, head, lines));
            }
        }
        heads.into_par_iter().with_min_len(4).for_each(|(base, len, head, lines)| {
            let (keys, values) = lines.split_at_mut(self.key_lines(len));
            let column = self.attention.q_width() + head * head_dim;
            let row = |token: usize, column: usize| &qkv[(base + token) * width + column..][..head_dim];
            pack_keys(keys, len, head_dim, |token| row(token, column));
            let column = column + self.attention.kv_width();
            pack_values(values, len, head_dim, self.values, |token| row(token, column));
        });
    }

    /// The keys and values of a task.
    pub(super) fn head<'b>(&self, task: &Task, packed: &'b [Line]) -> Head<'b> {
        let lines = &packed[task.packed..][..self.head_lines(task.len)];
        let (keys, values) = lines.split_at(self.key_lines(task.len));
        Head { keys, values, head_dim: self.attention.head_dim, steps: self.steps(task.len), precision: self.values }
    }
}

impl<'a> Head<'a> {
    /// The panel of the keys from `32 · panel` on.
    pub(super) fn keys(&self, panel: usize) -> &'a [Line] {
        let lines = self.head_dim * LINES;
        &self.keys[panel * lines..][..lines]
    }

    /// Values of the keys `keys` (whole steps, but for the last of the sequence), for the dimensions from
    /// `32 · panel` on.
    pub(super) fn values(&self, panel: usize, keys: std::ops::Range<usize>) -> &'a [Line] {
        let per_step = self.precision.weights_per_word();
        let start = panel * self.steps;
        &self.values[(start + keys.start / per_step) * LINES..(start + keys.end.div_ceil(per_step)) * LINES]
    }

    /// Panels of values.
    pub(super) fn value_panels(&self) -> usize {
        self.head_dim.div_ceil(COLUMNS)
    }
}

/// What is beyond the last key stays as it was: its scores are computed with the others and used by nobody.
fn pack_keys<'a>(lines: &mut [Line], len: usize, head_dim: usize, row: impl Fn(usize) -> &'a [f32]) {
    let words = words_mut(lines);
    for (panel, words) in words.chunks_exact_mut(head_dim * COLUMNS).enumerate() {
        for column in 0..COLUMNS.min(len - panel * COLUMNS) {
            let places = words[column..].iter_mut().step_by(COLUMNS);
            places.zip(row(panel * COLUMNS + column)).for_each(|(word, value)| *word = value.to_bits());
        }
    }
}

fn pack_values<'a>(
    lines: &mut [Line],
    len: usize,
    head_dim: usize,
    precision: Precision,
    row: impl Fn(usize) -> &'a [f32],
) {
    let per_step = precision.weights_per_word();
    // A sequence without tokens has no steps, and no chunks either.
    let steps = len.div_ceil(per_step).max(1);
    let words = words_mut(lines);
    for (panel, words) in words.chunks_exact_mut(steps * COLUMNS).enumerate() {
        let columns = panel * COLUMNS..head_dim.min((panel + 1) * COLUMNS);
        for (step, words) in words.chunks_exact_mut(COLUMNS).enumerate() {
            let (words, beyond) = words.split_at_mut(columns.len());
            beyond.fill(0);
            let first = &row(step * per_step)[columns.clone()];
            match precision {
                Precision::Bf16 => {
                    let half = |value: f32| u32::from(bf16::from_f32(value).to_bits());
                    let second = step * per_step + 1;
                    if second < len {
                        let second = &row(second)[columns.clone()];
                        for ((word, first), second) in words.iter_mut().zip(first).zip(second) {
                            *word = half(*first) | half(*second) << 16;
                        }
                    } else {
                        words.iter_mut().zip(first).for_each(|(word, first)| *word = half(*first));
                    }
                }
                _ => words.iter_mut().zip(first).for_each(|(word, value)| *word = value.to_bits()),
            }
        }
    }
}
