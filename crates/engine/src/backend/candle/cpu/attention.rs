//! softmax(q·kᵀ/√d)·v over packed sequences, tiled: memory is linear in the length of a text.
//!
//! A task is one tile of queries of one group of heads that share keys and values. It goes over the
//! keys in tiles and keeps a running maximum and sum per query (the online softmax of Milakov and
//! Gimelshein, 2018, as FlashAttention uses it), so scores are held for one tile alone. The heads of a
//! group are stacked as rows: k and v are never copied per head.

use pulp::Arch;
use rayon::prelude::*;

use super::math;
use super::matmul::{Threads, View, ViewMut, matmul};
use crate::backend::candle::parts::{AttentionShape, Run};
use crate::error::Result;

/// Rows (queries × heads of a group) of a tile: scores of a tile stay in the L2 cache.
const TILE_ROWS: usize = 192;
/// Keys of a tile.
const TILE_KEYS: usize = 256;

/// One tile of queries of one group of heads.
struct Task {
    /// First row of the sequence in the batch.
    base: usize,
    /// Tokens of the sequence.
    len: usize,
    /// The queries, counted from the start of the sequence.
    from: usize,
    to: usize,
    kv_head: usize,
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    queries: Vec<f32>,
    scores: Vec<f32>,
    sums: Vec<f32>,
    maximum: Vec<f32>,
    total: Vec<f32>,
}

/// A place that several tasks write to, each in rows and columns of its own.
struct Shared(*mut f32);
// SAFETY: see the only use, in `write`.
unsafe impl Sync for Shared {}

impl Shared {
    /// # Safety
    /// `at..at + values.len()` lies in the buffer and no other thread touches it.
    unsafe fn write(&self, at: usize, values: impl ExactSizeIterator<Item = f32>) {
        for (offset, value) in values.enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *self.0.add(at + offset) = value };
        }
    }
}

/// Attention over rows of `[q | k | v]`; `out` has `q_width` columns.
pub(super) fn attention(qkv: &[f32], out: &mut [f32], shape: &AttentionShape, run: &Run<'_>) -> Result<()> {
    let group = shape.heads / shape.kv_heads;
    let queries = (TILE_ROWS / group).max(8);
    assert!(qkv.len() == run.tokens() * (shape.q_width() + 2 * shape.kv_width()), "qkv has another size");
    assert!(out.len() == run.tokens() * shape.q_width(), "the output has another size");
    let mut tasks = Vec::new();
    for rows in run.sequences() {
        for from in (0..rows.len()).step_by(queries) {
            for kv_head in 0..shape.kv_heads {
                let to = (from + queries).min(rows.len());
                tasks.push(Task { base: rows.start, len: rows.len(), from, to, kv_head });
            }
        }
    }
    let out = Shared(out.as_mut_ptr());
    tasks.par_iter().with_max_len(1).try_for_each_init(Scratch::default, |scratch, task| {
        run.cancel.check()?;
        tile(qkv, &out, shape, task, scratch, run)
    })
}

fn tile(
    qkv: &[f32],
    out: &Shared,
    shape: &AttentionShape,
    task: &Task,
    scratch: &mut Scratch,
    run: &Run<'_>,
) -> Result<()> {
    let dim = shape.head_dim;
    let group = shape.heads / shape.kv_heads;
    let width = shape.q_width() + 2 * shape.kv_width();
    let queries = task.to - task.from;
    let rows = group * queries;

    // The row `head · queries + query`, scaled once here in place of every score.
    let scale = 1.0 / (dim as f32).sqrt();
    scratch.queries.clear();
    for head in 0..group {
        for query in task.from..task.to {
            let at = (task.base + query) * width + (task.kv_head * group + head) * dim;
            scratch.queries.extend(qkv[at..at + dim].iter().map(|q| q * scale));
        }
    }
    scratch.sums.clear();
    scratch.sums.resize(rows * dim, 0.0);
    scratch.maximum.clear();
    scratch.maximum.resize(rows, f32::NEG_INFINITY);
    scratch.total.clear();
    scratch.total.resize(rows, 0.0);
    scratch.scores.resize(rows * TILE_KEYS, 0.0);

    let visible = shape.visible(task.from, task.to, task.len);
    let keys_at = shape.q_width() + task.kv_head * dim;
    let values_at = keys_at + shape.kv_width();
    for first in visible.clone().step_by(TILE_KEYS) {
        run.cancel.check()?;
        let count = TILE_KEYS.min(visible.end - first);
        let row = (task.base + first) * width;
        let keys = View::new(&qkv[row + keys_at..], count, dim, width);
        let values = View::new(&qkv[row + values_at..], count, dim, width);
        let scores = &mut scratch.scores[..rows * count];
        let q = View::new(&scratch.queries, rows, dim, dim);
        matmul(ViewMut::new(scores, rows, count, count), q, keys.transposed(), false, Threads::One);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for row in 0..rows {
                    let query = task.from + row % queries;
                    let seen = shape.visible(query, query + 1, task.len);
                    let from = seen.start.clamp(first, first + count) - first;
                    let to = seen.end.clamp(first, first + count) - first;
                    let scores = &mut scores[row * count..][..count];
                    let shrink = soften(scores, from, to, &mut scratch.maximum[row], &mut scratch.total[row]);
                    if shrink != 1.0 {
                        for sum in &mut scratch.sums[row * dim..][..dim] {
                            *sum *= shrink;
                        }
                    }
                }
            },
        );
        let scores = View::new(scores, rows, count, count);
        matmul(ViewMut::new(&mut scratch.sums, rows, dim, dim), scores, values, true, Threads::One);
    }
    for row in 0..rows {
        let (head, query) = (row / queries, task.from + row % queries);
        let at = (task.base + query) * shape.q_width() + (task.kv_head * group + head) * dim;
        let inverse = 1.0 / scratch.total[row];
        let values = scratch.sums[row * dim..][..dim].iter().map(|sum| sum * inverse);
        // SAFETY: `attention` checked the size of the buffer; the rows `from..to` and the columns of
        // this group of heads belong to this task alone.
        unsafe { out.write(at, values) };
    }
    Ok(())
}

/// One step of the online softmax: scores `from..to` become exp(score − maximum), the others 0. Gives
/// the factor by which what was summed before must shrink.
#[inline(always)]
fn soften(scores: &mut [f32], from: usize, to: usize, maximum: &mut f32, total: &mut f32) -> f32 {
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    if from == to {
        return 1.0;
    }
    let seen = &mut scores[from..to];
    let mut lanes = [*maximum; 16];
    let (chunks, rest) = seen.as_chunks::<16>();
    for chunk in chunks {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *lane = if *score > *lane { *score } else { *lane };
        }
    }
    let new = lanes.iter().chain(rest).fold(*maximum, |a, b| a.max(*b));
    let shrink = math::exp(*maximum - new);
    let mut lanes = [0f32; 16];
    let (chunks, rest) = seen.as_chunks_mut::<16>();
    for chunk in chunks {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *score = math::exp(*score - new);
            *lane += *score;
        }
    }
    let mut sum: f32 = lanes.iter().sum();
    for score in rest {
        *score = math::exp(*score - new);
        sum += *score;
    }
    *total = *total * shrink + sum;
    *maximum = new;
    shrink
}
