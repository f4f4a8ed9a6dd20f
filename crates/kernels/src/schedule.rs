//! How a layer's work is cut up: for the caches, and for the threads.
//!
//! A task multiplies a block of rows with a range of panels. It copies a part of the inputs of its rows
//! into a buffer that stays in the L2 cache (rows there are a fixed distance apart, so that addresses are
//! constants in the kernels), and goes over its panels with it: each weight is loaded once a task.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::isa::Isa;
use crate::linear::Output;
use crate::panels::{COLUMNS, Panels};
use crate::simd::{Kernel, Line, Region, STRIDE, Sums, regions, words_mut};

/// Rows of a task. With [`BLOCK_WORDS`] 400 kB of activations: they fit the L2 cache, with a panel beside.
const TASK_ROWS: usize = 96;
/// Words of a row that are multiplied before the sums go to the output.
const BLOCK_WORDS: usize = 1024;
/// Tasks for each thread, where the work is enough: threads that are held up leave tasks to the others.
const TASKS_PER_THREAD: usize = 4;
/// Multiply-adds that are not worth a second thread: a few microseconds.
const SMALL: usize = 1 << 18;

thread_local! {
    /// The activations of a task.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// The layer of one call.
struct Call<'a> {
    panels: &'a Panels,
    bias: Option<&'a [f32]>,
    kernel: Kernel,
    x: &'a [f32],
    output: Output,
}

/// Applies a layer; the sizes of `x` and `out` were checked.
pub(crate) fn run(
    panels: &Panels,
    bias: Option<&[f32]>,
    isa: Isa,
    x: &[f32],
    rows: usize,
    out: &mut [f32],
    output: Output,
) {
    if rows == 0 || panels.outputs() == 0 {
        return;
    }
    let kernel = Kernel::new(isa, panels.precision());
    let threads = match rows * panels.outputs() * panels.inputs() {
        work if work < SMALL => 1,
        _ => rayon::current_num_threads(),
    };
    let (row_blocks, panel_blocks) = grid(rows, panels.count(), threads);
    // Rows are cut at whole tiles: a tile with few rows wastes the kernel.
    let tiles = rows.div_ceil(kernel.rows());
    let row_cuts = cuts(tiles, row_blocks.min(tiles), kernel.rows(), rows);
    let column_cuts = cuts(panels.count(), panel_blocks, COLUMNS, panels.outputs());
    let regions = regions(out, rows, panels.outputs(), &row_cuts, &column_cuts);
    let call = Call { panels, bias, kernel, x, output };
    if threads == 1 {
        regions.into_iter().for_each(|region| call.task(region));
    } else {
        regions.into_par_iter().with_max_len(1).for_each(|region| call.task(region));
    }
}

/// Into how many blocks rows and panels are cut.
fn grid(rows: usize, panels: usize, threads: usize) -> (usize, usize) {
    let row_blocks = rows.div_ceil(TASK_ROWS);
    let wanted = if threads == 1 { 1 } else { threads * TASKS_PER_THREAD };
    (row_blocks, wanted.div_ceil(row_blocks).min(panels))
}

/// The ends of `parts` nearly equal parts of `count` units of `unit`, of which the last may be incomplete.
fn cuts(count: usize, parts: usize, unit: usize, len: usize) -> Vec<usize> {
    (0..parts).map(|at| len.min(part(count, parts, at).end * unit)).collect()
}

/// Part `at` of `count` nearly equal parts of `0..len`.
fn part(len: usize, count: usize, at: usize) -> Range<usize> {
    len * at / count..len * (at + 1) / count
}

impl Call<'_> {
    fn task(&self, mut region: Region<'_>) {
        let rows = region.rows();
        let panels = region.columns().start / COLUMNS..region.columns().end.div_ceil(COLUMNS);
        SCRATCH.with_borrow_mut(|scratch| {
            let lines = rows.len() * STRIDE / 16;
            if scratch.len() < lines {
                scratch.resize(lines, Line::default());
            }
            let steps = self.panels.steps();
            let most = BLOCK_WORDS / self.kernel.words();
            // A layer without inputs has one empty block: its bias is due all the same.
            for from in (0..steps.max(1)).step_by(most) {
                let block = from..steps.min(from + most);
                self.encode(scratch, rows.clone(), block.clone());
                for panel in panels.clone() {
                    self.panel(scratch, &mut region, panel, block.clone());
                }
            }
        });
    }

    /// Brings the inputs `block` (counted in steps) of `rows` into the buffer.
    fn encode(&self, scratch: &mut [Line], rows: Range<usize>, block: Range<usize>) {
        let (width, per_word) = (self.panels.inputs(), self.panels.precision().weights_per_word());
        let inputs = block.start * per_word..width.min(block.end * per_word);
        for (row, lines) in rows.zip(scratch.chunks_exact_mut(STRIDE / 16)) {
            let x = &self.x[row * width..][inputs.clone()];
            self.kernel.encode(x, &mut words_mut(lines)[..block.len() * self.kernel.words()]);
        }
    }

    /// Multiplies the rows in the buffer with a block of a panel.
    fn panel(&self, scratch: &[Line], region: &mut Region<'_>, panel: usize, block: Range<usize>) {
        let rows = region.rows();
        let weights = self.panels.block(panel, block.clone());
        let columns = panel * COLUMNS..self.panels.outputs().min((panel + 1) * COLUMNS);
        let bias = self.bias.filter(|_| block.start == 0).map(|bias| &bias[columns.clone()]);
        let add = block.start > 0 || self.output == Output::Add;
        let tiles = rows.len().div_ceil(self.kernel.rows());
        let mut sums = Sums::default();
        for tile in 0..tiles {
            let tile = part(rows.len(), tiles, tile);
            self.kernel.tile(&scratch[tile.start * STRIDE / 16..], tile.len(), weights, &mut sums);
            let first = rows.start + tile.start;
            self.kernel.finish(&sums, region, first..first + tile.len(), columns.clone(), bias, add);
        }
    }
}
