//! How a layer's work is cut into tasks, for the caches and for the threads: each multiplies a block of rows with a
//! range of panels.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::block::{Call, Input, Layer, part_of};
use crate::linear::Output;
use crate::panels::Precision;
use crate::quantized::Quantized;
use crate::simd::{Line, Region, regions};

/// Rows of a task. With 1024 words of each 400 kB of activations: they fit the L2 cache, with a panel beside.
pub(crate) const TASK_ROWS: usize = 96;
/// Tasks for each thread, where the work is enough: threads that are held up leave tasks to the others.
const TASKS_PER_THREAD: usize = 4;
/// Words of weights times rows that are not worth a second thread: a few microseconds.
const SMALL: usize = 1 << 18;
/// Most memory of rounded activations that a thread keeps, in bytes: those of 192 rows of a wide MLP.
const KEPT: usize = 4 << 20;

thread_local! {
    /// The activations of a task.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    /// The rounded activations of a call. Taken out while in use: a thread that waits for the tasks of its
    /// call may begin another call meanwhile.
    static QUANTIZED: RefCell<Quantized> = RefCell::default();
}

/// Applies a layer; the sizes of `x` and `out` were checked.
pub(crate) fn run(layer: Layer<'_>, x: &[f32], rows: usize, out: &mut [f32], output: Output) {
    if rows == 0 || layer.panels.outputs() == 0 {
        return;
    }
    let quantized = quantized(layer, x, rows);
    let input = quantized.as_ref().map_or(Input::Floats(x), Input::Quantized);
    call(Call::new(layer, input, output), layer, rows, out);
    keep(quantized);
}

/// `x` rounded once for all tasks, where the layer's weights are int8. To be handed to [`keep`] in the end.
pub(crate) fn quantized(layer: Layer<'_>, x: &[f32], rows: usize) -> Option<Quantized> {
    (layer.panels.precision() == Precision::Int8).then(|| {
        let mut quantized = QUANTIZED.take();
        quantized.set(layer.isa, x, rows, layer.panels.factors());
        quantized
    })
}

/// Keeps the memory for the next call, unless it is much.
pub(crate) fn keep(quantized: Option<Quantized>) {
    if let Some(quantized) = quantized.filter(|quantized| quantized.held() <= KEPT) {
        QUANTIZED.set(quantized);
    }
}

fn call(call: Call<'_>, layer: Layer<'_>, rows: usize, out: &mut [f32]) {
    let panels = layer.panels;
    let kernel = call.kernel();
    let threads = threads(rows, &[layer]);
    let row_blocks = rows.div_ceil((TASK_ROWS / call.chunks_together()).max(kernel.rows()));
    // Rows are cut at whole tiles: a tile with few rows wastes the kernel.
    let tiles = rows.div_ceil(kernel.rows());
    let row_cuts = cuts(tiles, row_blocks.min(tiles), kernel.rows(), rows);
    // Panels are cut at as many as the kernel takes at once.
    let at_once = if tiles == 1 { kernel.panels(rows) } else { 1 };
    let units = panels.count().div_ceil(at_once);
    let column_cuts = cuts(units, panel_blocks(threads, row_blocks, units), at_once * panels.unit(), panels.outputs());
    let regions = regions(out, rows, panels.outputs(), &row_cuts, &column_cuts);
    if threads == 1 {
        regions.into_iter().for_each(|region| task(&call, layer, region));
    } else {
        regions.into_par_iter().with_max_len(1).for_each(|region| task(&call, layer, region));
    }
}

fn task(call: &Call<'_>, layer: Layer<'_>, mut region: Region<'_>) {
    SCRATCH.with_borrow_mut(|scratch| {
        let steps = layer.panels.steps();
        let most = call.chunk() * call.chunks_together();
        // A layer without inputs has one empty part: its bias is due all the same.
        for from in (0..steps.max(1)).step_by(most) {
            let part = from..steps.min(from + most);
            call.encode(scratch, &region, part.clone());
            call.multiply(scratch, &mut region, part);
        }
    });
}

/// Threads that the work of some layers is worth.
pub(crate) fn threads(rows: usize, layers: &[Layer<'_>]) -> usize {
    let words: usize = layers.iter().map(|layer| layer.panels.rows() * layer.panels.steps()).sum();
    if rows * words < SMALL { 1 } else { rayon::current_num_threads() }
}

/// Into how many blocks panels are cut, so that there are some tasks for each thread: as many for each, so that all
/// are done at the same time.
fn panel_blocks(threads: usize, row_blocks: usize, panels: usize) -> usize {
    let enough = (threads * TASKS_PER_THREAD).div_ceil(row_blocks);
    if threads == 1 { 1 } else { enough.next_multiple_of(threads).min(panels) }
}

/// The ends of `parts` nearly equal parts of `count` units of `unit`, of which the last may be incomplete.
pub(crate) fn cuts(count: usize, parts: usize, unit: usize, len: usize) -> Vec<usize> {
    (0..parts).map(|at| len.min(part_of(count, parts, at).end * unit)).collect()
}
