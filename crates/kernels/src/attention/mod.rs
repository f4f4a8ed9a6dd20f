//! softmax(q·kᵀ/√d)·v over packed sequences, each by itself.
//!
//! Keys and values are first brought into panels, as the weights of a layer are ([`packed`]): then both
//! products are those of the linear kernels. A task is one tile of queries of one group of heads that share
//! keys and values ([`tile`]); it goes over the keys in blocks, so that memory is linear in the length of a
//! sequence.

mod packed;
mod softmax;
mod tile;

use rayon::prelude::*;

use crate::isa::Isa;
use crate::linear::Precision;
use crate::simd::{Line, regions};
use packed::Layout;

/// Rows (queries × heads of a group) of a task: enough that the keys and values are read from the L2 cache
/// rather than from memory, few enough that one text gives work to all threads.
const TASK_ROWS: usize = 192;

/// How attention is shaped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`. Consecutive query heads share one.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Whether a token sees only itself and the tokens before it.
    pub causal: bool,
    /// Sliding window `w`: a causal token sees `w` tokens, itself included; one that is not causal sees itself
    /// and `w` to each side.
    pub window: Option<usize>,
    /// How the weighted sum of values is multiplied. [`Precision::Bf16`] rounds softmax weights and values to
    /// bf16 where the CPU multiplies that, and is f32 elsewhere. Scores are f32 always: a rounded key moves a
    /// score by its magnitude, and some models have keys in the hundreds.
    pub values: Precision,
}

/// Memory that attention works in; keep it from call to call.
#[derive(Default)]
pub struct Workspace {
    lines: Vec<Line>,
}

/// The tokens of one task.
#[derive(Debug, Clone, Copy)]
struct Task {
    /// Where the packed keys and values begin.
    packed: usize,
    /// First row of the sequence in the batch.
    base: usize,
    /// Tokens of the sequence.
    len: usize,
    /// The queries, counted from the start of the sequence.
    from: usize,
    to: usize,
    /// The head of keys and values.
    kv_head: usize,
}

impl Attention {
    /// Attends over rows `[q | k | v]` of the sequences that `cumulative` cuts them into
    /// (`cumulative[i]..cumulative[i + 1]` are the rows of sequence `i`), and writes `heads · head_dim` values
    /// a row to `out`. The work is shared among the threads of the current rayon pool. What comes out for a
    /// sequence depends neither on the other sequences nor on the number of threads, to the bit.
    ///
    /// `stop` is asked between blocks of keys; once it says yes, the call ends and gives `false`, and `out` is
    /// of no use.
    ///
    /// # Errors
    /// The allocator's, if there is no memory for the packed keys and values.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn forward(
        &self,
        qkv: &[f32],
        cumulative: &[u32],
        out: &mut [f32],
        isa: Isa,
        workspace: &mut Workspace,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool, std::collections::TryReserveError> {
        assert!(self.heads > 0 && self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads), "heads do not divide");
        let tokens = cumulative.last().map_or(0, |last| *last as usize);
        assert!(cumulative.is_sorted() && cumulative.first().is_none_or(|first| *first == 0), "lengths must ascend");
        assert!(qkv.len() == tokens * self.row_width(), "rows of q, k and v have another size");
        assert!(out.len() == tokens * self.q_width(), "the output has another size");
        if tokens == 0 || self.head_dim == 0 {
            return Ok(true);
        }
        let layout = Layout::new(self, cumulative, isa);
        workspace.grow(layout.lines())?;
        let packed = &mut workspace.lines[..layout.lines()];
        layout.pack(qkv, packed);

        let queries = (TASK_ROWS / self.group()).max(8);
        let mut cuts = Vec::new();
        let mut tasks = Vec::new();
        let mut before = 0;
        for rows in cumulative.windows(2) {
            let (base, len) = (rows[0] as usize, (rows[1] - rows[0]) as usize);
            let place = |head: usize| before + head * layout.head_lines(len);
            // Tiles of nearly equal size: a last one of few queries would waste the kernel.
            let tiles = len.div_ceil(queries);
            for tile in 0..tiles {
                let (from, to) = (len * tile / tiles, len * (tile + 1) / tiles);
                cuts.push(base + to);
                let task = |kv_head| Task { packed: place(kv_head), base, len, from, to, kv_head };
                tasks.extend((0..self.kv_heads).map(task));
            }
            before = place(self.kv_heads);
        }
        let columns: Vec<usize> = (1..=self.kv_heads).map(|head| head * self.group() * self.head_dim).collect();
        let regions = regions(out, tokens, self.q_width(), &cuts, &columns);
        let packed = &*packed;
        Ok(tasks
            .into_par_iter()
            .zip(regions)
            .with_max_len(1)
            .all(|(task, region)| tile::run(self, &task, qkv, layout.head(&task, packed), region, isa, stop)))
    }

    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Width of all query heads.
    fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads, and of all value heads.
    fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Width of a row `[q | k | v]`.
    fn row_width(&self) -> usize {
        self.q_width() + 2 * self.kv_width()
    }

    /// The keys that queries `from..to` of a sequence of `len` tokens can see, together.
    fn visible(&self, from: usize, to: usize, len: usize) -> std::ops::Range<usize> {
        match (self.causal, self.window) {
            (true, None) => 0..to,
            (true, Some(window)) => (from + 1).saturating_sub(window)..to,
            (false, None) => 0..len,
            (false, Some(window)) => from.saturating_sub(window)..len.min(to.saturating_add(window)),
        }
    }
}

impl Workspace {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    fn grow(&mut self, lines: usize) -> Result<(), std::collections::TryReserveError> {
        if self.lines.len() < lines {
            // What is in it is not needed: a new one is not copied into.
            self.lines = Vec::new();
            self.lines.try_reserve_exact(lines)?;
            self.lines.resize(lines, Line::default());
        }
        Ok(())
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("bytes", &self.bytes()).finish()
    }
}
