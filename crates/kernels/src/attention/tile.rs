//! One tile of queries of one group of heads.
//!
//! The heads of the group are stacked as rows, so that keys and values are never copied for a head. Scores
//! are held for a few rows and one block of keys, in the L1 cache; what a query cannot see is not computed,
//! but for the rest of a panel.

use std::cell::RefCell;
use std::ops::Range;

use super::packed::Head;
use super::softmax::Softmax;
use super::{Attention, Task};
use crate::isa::Isa;
use crate::linear::Precision;
use crate::panels::COLUMNS;
use crate::simd::{Kernel, Line, Region, STRIDE, Sums, dispatch, floats, floats_mut, words_mut};

/// Keys of a block: their scores for the rows of a kernel fit the L1 cache, their keys and values the L2.
const BLOCK: usize = 256;
/// Lines from one row of activations to the next.
const ROW_LINES: usize = STRIDE / 16;

/// Buffers of one thread, which all tasks use after each other.
#[derive(Default)]
struct Scratch {
    /// Queries of all rows, as the kernel reads them.
    queries: Vec<Line>,
    /// Scores, then softmax weights, of the rows of one kernel tile.
    scores: Vec<Line>,
    /// The weights in bf16.
    halves: Vec<Line>,
    /// Weighted sums of values, `head_dim` for each row.
    sums: Vec<f32>,
    softmax: Vec<Softmax>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs a task; `false` if it was stopped.
pub(super) fn run(
    attention: &Attention,
    task: &Task,
    qkv: &[f32],
    head: Head<'_>,
    region: Region<'_>,
    isa: Isa,
    stop: &(dyn Fn() -> bool + Sync),
) -> bool {
    SCRATCH.with_borrow_mut(|scratch| {
        let tile = Tile {
            attention,
            task,
            head,
            scores: Kernel::new(isa, Precision::F32),
            values: Kernel::new(isa, head.precision),
        };
        dispatch(
            isa,
            #[inline(always)]
            || tile.begin(qkv, scratch),
        );
        let visible = attention.visible(task.from, task.to, task.len);
        // Blocks begin where panels do.
        let mut first = visible.start / COLUMNS * COLUMNS;
        while first < visible.end {
            if stop() {
                return false;
            }
            let block = first..visible.end.min(first + BLOCK);
            dispatch(
                isa,
                #[inline(always)]
                || tile.block(&block, scratch),
            );
            first = block.end;
        }
        dispatch(
            isa,
            #[inline(always)]
            || tile.end(scratch, region),
        );
        true
    })
}

struct Tile<'a> {
    attention: &'a Attention,
    task: &'a Task,
    head: Head<'a>,
    scores: Kernel,
    values: Kernel,
}

impl Tile<'_> {
    fn queries(&self) -> usize {
        self.task.to - self.task.from
    }

    /// Row `head · queries + query` is one query of one head.
    fn rows(&self) -> usize {
        self.queries() * self.attention.group()
    }

    /// Position of the query of a row.
    fn query(&self, row: usize) -> usize {
        self.task.from + row % self.queries()
    }

    /// The keys that a row can see.
    fn visible(&self, row: usize) -> Range<usize> {
        let query = self.query(row);
        self.attention.visible(query, query + 1, self.task.len)
    }

    /// Brings the queries into their buffer, scaled once here in place of every score.
    #[inline(always)]
    fn begin(&self, qkv: &[f32], scratch: &mut Scratch) {
        let Attention { head_dim, .. } = *self.attention;
        assert!(head_dim <= STRIDE, "a head is wider than a row of activations");
        let most = self.scores.rows().max(self.values.rows());
        for (lines, rows) in
            [(&mut scratch.queries, self.rows()), (&mut scratch.scores, most), (&mut scratch.halves, most)]
        {
            if lines.len() < rows * ROW_LINES {
                lines.resize(rows * ROW_LINES, Line::default());
            }
        }
        scratch.sums.clear();
        scratch.sums.resize(self.rows() * head_dim, 0.0);
        scratch.softmax.clear();
        scratch.softmax.resize(self.rows(), Softmax::EMPTY);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let first = self.task.kv_head * self.attention.group();
        for (row, lines) in scratch.queries.chunks_exact_mut(ROW_LINES).take(self.rows()).enumerate() {
            let token = self.task.base + self.query(row);
            let column = (first + row / self.queries()) * head_dim;
            let query = &qkv[token * self.attention.row_width() + column..][..head_dim];
            words_mut(lines).iter_mut().zip(query).for_each(|(word, value)| *word = (value * scale).to_bits());
        }
    }

    /// Takes the keys `block` into account.
    #[inline(always)]
    fn block(&self, block: &Range<usize>, scratch: &mut Scratch) {
        let (rows, most) = (self.rows(), self.scores.rows().min(self.values.rows()));
        let tiles = rows.div_ceil(most);
        for tile in 0..tiles {
            let tile = rows * tile / tiles..rows * (tile + 1) / tiles;
            // Between the first key that any of these rows sees and the last.
            let seen = tile.clone().map(|row| self.visible(row));
            let seen = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
            let seen = seen.start.max(block.start)..seen.end.min(block.end);
            if seen.start < seen.end {
                self.rows_of_block(tile, block, &seen, scratch);
            }
        }
    }

    /// Scores, softmax and weighted values of `rows` (as many as the kernel takes) for the keys `seen` of a
    /// block.
    #[inline(always)]
    fn rows_of_block(&self, rows: Range<usize>, block: &Range<usize>, seen: &Range<usize>, scratch: &mut Scratch) {
        let mut sums = Sums::default();
        let queries = &scratch.queries[rows.start * ROW_LINES..];
        for panel in seen.start / COLUMNS..seen.end.div_ceil(COLUMNS) {
            self.scores.tile(queries, rows.len(), self.head.keys(panel), &mut sums);
            let at = panel * COLUMNS - block.start;
            for (row, lines) in scratch.scores.chunks_exact_mut(ROW_LINES).take(rows.len()).enumerate() {
                // At once: word by word LLVM moves each by itself.
                floats_mut(lines)[at..at + COLUMNS].copy_from_slice(sums.row(row));
            }
        }

        // The weighted sum goes over whole steps: from the panel's first key to the last one that is seen.
        let keys = seen.start / COLUMNS * COLUMNS..seen.end;
        let mut shrink = [1f32; 16];
        for (index, row) in rows.clone().enumerate() {
            let scores = floats_mut(&mut scratch.scores[index * ROW_LINES..][..ROW_LINES]);
            let scores = &mut scores[keys.start - block.start..keys.end - block.start];
            let seen = self.visible(row);
            let from = seen.start.clamp(keys.start, keys.end) - keys.start;
            let to = seen.end.clamp(keys.start, keys.end) - keys.start;
            scores[..from].fill(0.0);
            scores[to.max(from)..].fill(0.0);
            if from < to {
                shrink[index] = scratch.softmax[row].take(&mut scores[from..to]);
            }
        }

        let weights = match self.head.precision {
            Precision::Bf16 => {
                for index in 0..rows.len() {
                    let scores = floats(&scratch.scores[index * ROW_LINES..][..ROW_LINES]);
                    let scores = &scores[keys.start - block.start..keys.end - block.start];
                    let halves = words_mut(&mut scratch.halves[index * ROW_LINES..][..ROW_LINES]);
                    self.values.encode(scores, &mut halves[..scores.len().div_ceil(2)]);
                }
                &scratch.halves[..]
            }
            // f32 weights are what the kernel reads; they begin at a multiple of a line.
            _ => &scratch.scores[(keys.start - block.start) / 16..],
        };
        let head_dim = self.attention.head_dim;
        for panel in 0..self.head.value_panels() {
            self.values.tile(weights, rows.len(), self.head.values(panel, keys.clone()), &mut sums);
            let columns = panel * COLUMNS..head_dim.min((panel + 1) * COLUMNS);
            for (index, row) in rows.clone().enumerate() {
                let total = &mut scratch.sums[row * head_dim..][columns.clone()];
                for (total, sum) in total.iter_mut().zip(sums.row(index)) {
                    *total = *total * shrink[index] + sum;
                }
            }
        }
    }

    /// Writes what was summed, divided by the sum of the softmax weights.
    #[inline(always)]
    fn end(&self, scratch: &Scratch, mut region: Region<'_>) {
        let head_dim = self.attention.head_dim;
        let first = self.task.kv_head * self.attention.group();
        for (row, sums) in scratch.sums.chunks_exact(head_dim).enumerate() {
            let column = (first + row / self.queries()) * head_dim;
            let out = region.row(self.task.base + self.query(row), column..column + head_dim);
            let inverse = 1.0 / scratch.softmax[row].total();
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * inverse);
        }
    }
}
