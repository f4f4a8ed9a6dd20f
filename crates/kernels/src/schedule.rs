//! How a layer's work is cut up: for the caches, and for the threads.
//!
//! A task multiplies a block of rows with a range of panels. It copies a part of the inputs of its rows
//! into a buffer that stays in the L2 cache (rows there are a fixed distance apart, so that addresses are
//! constants in the kernels), and goes over its panels with it: each weight is loaded once a task.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::isa::Isa;
use crate::linear::{Activation, Output};
use crate::panels::{COLUMNS, INT8_BLOCK, Panels, Precision};
use crate::quantized::Quantized;
use crate::simd::{Epilogue, Function, Kernel, Line, Operands, Place, Region, STRIDE, Sums, regions, words, words_mut};

/// Rows of a task. With [`CHUNK_WORDS`] 400 kB of activations: they fit the L2 cache, with a panel beside.
const TASK_ROWS: usize = 96;
/// Words of a row that are in the buffer together. Their sums go to the output before the next come.
const CHUNK_WORDS: usize = 1024;
/// Lines from one row of activations to the next.
const ROW_LINES: usize = STRIDE / 16;
/// Tasks for each thread, where the work is enough: threads that are held up leave tasks to the others.
const TASKS_PER_THREAD: usize = 4;
/// Words of weights times rows that are not worth a second thread: a few microseconds.
const SMALL: usize = 1 << 18;

thread_local! {
    /// The activations of a task.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    /// The rounded activations of a call. Taken out while in use: a thread that waits for the tasks of its
    /// call may begin another call meanwhile.
    static QUANTIZED: RefCell<Quantized> = RefCell::default();
}

/// A layer as the kernels need it.
pub(crate) struct Layer<'a> {
    pub(crate) panels: &'a Panels,
    pub(crate) bias: Option<&'a [[f32; COLUMNS]]>,
    pub(crate) activation: Activation,
    pub(crate) isa: Isa,
}

/// The input of a call.
enum Input<'a> {
    Floats(&'a [f32]),
    Quantized(&'a Quantized),
}

/// A layer with its input.
struct Call<'a> {
    layer: &'a Layer<'a>,
    kernel: Kernel,
    x: Input<'a>,
    function: Function,
    output: Output,
}

impl Layer<'_> {
    /// Applies the layer; the sizes of `x` and `out` were checked.
    pub(crate) fn run(&self, x: &[f32], rows: usize, out: &mut [f32], output: Output) {
        if rows == 0 || self.panels.outputs() == 0 {
            return;
        }
        if self.panels.precision() == Precision::Int8 {
            let mut quantized = QUANTIZED.take();
            quantized.set(self.isa, x, rows, self.panels.factors());
            self.call(Input::Quantized(&quantized), rows, out, output);
            QUANTIZED.set(quantized);
        } else {
            self.call(Input::Floats(x), rows, out, output);
        }
    }

    fn call(&self, x: Input<'_>, rows: usize, out: &mut [f32], output: Output) {
        let panels = self.panels;
        let kernel = Kernel::new(self.isa, panels.precision());
        let threads = match rows * panels.rows() * panels.steps() {
            work if work < SMALL => 1,
            _ => rayon::current_num_threads(),
        };
        let function = if panels.is_gated() { Function::Gated } else { Function::Of(self.activation) };
        let call = Call { layer: self, kernel, x, function, output };
        let row_blocks = rows.div_ceil(call.task_rows());
        // Rows are cut at whole tiles: a tile with few rows wastes the kernel.
        let tiles = rows.div_ceil(kernel.rows());
        let row_cuts = cuts(tiles, row_blocks.min(tiles), kernel.rows(), rows);
        // Panels are cut at as many as the kernel takes at once.
        let at_once = if tiles == 1 { kernel.panels(rows) } else { 1 };
        let units = panels.count().div_ceil(at_once);
        let column_cuts =
            cuts(units, panel_blocks(threads, row_blocks, units), at_once * panels.unit(), panels.outputs());
        let regions = regions(out, rows, panels.outputs(), &row_cuts, &column_cuts);
        if threads == 1 {
            regions.into_iter().for_each(|region| call.task(region));
        } else {
            regions.into_par_iter().with_max_len(1).for_each(|region| call.task(region));
        }
    }
}

/// Into how many blocks panels are cut, so that there are some tasks for each thread: as many for each, so that all
/// are done at the same time.
fn panel_blocks(threads: usize, row_blocks: usize, panels: usize) -> usize {
    let enough = (threads * TASKS_PER_THREAD).div_ceil(row_blocks);
    if threads == 1 { 1 } else { enough.next_multiple_of(threads).min(panels) }
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
    /// Steps that are in the buffer together.
    fn chunk(&self) -> usize {
        CHUNK_WORDS / self.kernel.words()
    }

    /// Chunks that must be summed before the results are what they are: all, unless the results are sums.
    fn chunks_together(&self) -> usize {
        match self.function {
            Function::Of(Activation::Identity) => 1,
            _ => self.layer.panels.steps().div_ceil(self.chunk()).max(1),
        }
    }

    fn task_rows(&self) -> usize {
        (TASK_ROWS / self.chunks_together()).max(self.kernel.rows())
    }

    fn task(&self, mut region: Region<'_>) {
        let panels = self.layer.panels;
        let rows = region.rows();
        let range = region.columns().start / panels.unit()..region.columns().end.div_ceil(panels.unit());
        SCRATCH.with_borrow_mut(|scratch| {
            let lines = self.chunks_together() * rows.len() * ROW_LINES;
            if scratch.len() < lines {
                scratch.resize(lines, Line::default());
            }
            let mut sums = Sums::default();
            let steps = panels.steps();
            let most = self.chunk() * self.chunks_together();
            // A layer without inputs has one empty part: its bias is due all the same.
            for from in (0..steps.max(1)).step_by(most) {
                let part = from..steps.min(from + most);
                self.encode(scratch, rows.clone(), part.clone());
                let at_once = self.kernel.panels(rows.len());
                let mut next = range.start;
                while next < range.end {
                    let panels = if next + at_once <= range.end { at_once } else { 1 };
                    self.panels(scratch, &mut sums, &mut region, next..next + panels, part.clone());
                    next += panels;
                }
            }
        });
    }

    /// Brings the inputs `part` (counted in steps) of `rows` into the buffer: chunk by chunk, row by row.
    fn encode(&self, scratch: &mut [Line], rows: Range<usize>, part: Range<usize>) {
        let panels = self.layer.panels;
        let (width, per_word) = (panels.inputs(), panels.precision().weights_per_word());
        for (chunk, lines) in part.clone().step_by(self.chunk()).zip(scratch.chunks_mut(rows.len() * ROW_LINES)) {
            let chunk = chunk..part.end.min(chunk + self.chunk());
            for (row, lines) in rows.clone().zip(lines.chunks_exact_mut(ROW_LINES)) {
                let words = &mut words_mut(lines)[..chunk.len() * self.kernel.words()];
                match self.x {
                    Input::Floats(x) => {
                        let inputs = chunk.start * per_word..width.min(chunk.end * per_word);
                        self.kernel.encode(&x[row * width..][inputs], words);
                    }
                    Input::Quantized(x) => {
                        let bytes = &x.bytes(row)[4 * chunk.start..4 * chunk.end];
                        let fours = bytes.as_chunks::<4>().0;
                        words.iter_mut().zip(fours).for_each(|(word, four)| *word = u32::from_le_bytes(*four));
                    }
                }
            }
        }
    }

    /// Multiplies the rows in the buffer with a part of some panels: one, or as many as the kernel takes at once.
    fn panels(
        &self,
        scratch: &[Line],
        sums: &mut Sums,
        region: &mut Region<'_>,
        range: Range<usize>,
        part: Range<usize>,
    ) {
        let panels = self.layer.panels;
        let rows = region.rows();
        let tiles = rows.len().div_ceil(self.kernel.rows());
        for tile in 0..tiles {
            let tile = crate::schedule::part(rows.len(), tiles, tile);
            let place = rows.start + tile.start..rows.start + tile.end;
            for panel in range.clone() {
                region.prefetch(place.clone(), self.columns(panel));
            }
            self.tile(scratch, &rows, tile, range.clone(), part.clone(), sums);
            for panel in range.clone() {
                let epilogue = Epilogue {
                    scales: panels.scales(panel),
                    bias: self.layer.bias.filter(|_| part.start == 0).map(|bias| &bias[panel]),
                    function: self.function,
                    add: part.start > 0 || self.output == Output::Add,
                };
                let sums = sums.panel(panel - range.start, place.len());
                let place = Place { region, rows: place.clone(), columns: self.columns(panel) };
                self.kernel.finish(sums, place, &epilogue);
            }
        }
    }

    /// The results of a panel.
    fn columns(&self, panel: usize) -> Range<usize> {
        let unit = self.layer.panels.unit();
        panel * unit..self.layer.panels.outputs().min((panel + 1) * unit)
    }

    /// The sums of a tile of rows over a part of some panels.
    fn tile(
        &self,
        scratch: &[Line],
        rows: &Range<usize>,
        tile: Range<usize>,
        range: Range<usize>,
        part: Range<usize>,
        sums: &mut Sums,
    ) {
        if part.is_empty() {
            *sums = Sums::default();
        }
        for (index, from) in part.clone().step_by(self.chunk()).enumerate() {
            let activations = &scratch[(index * rows.len() + tile.start) * ROW_LINES..];
            let (scales, scales_apart) = match self.x {
                Input::Floats(_) => (&[][..], 0),
                Input::Quantized(x) => x.scales(rows.start + tile.start..rows.start + tile.end, from / INT8_BLOCK),
            };
            let operands = Operands {
                activations: words(activations),
                weights: self.layer.panels.from(range.start, from),
                apart: self.layer.panels.panel_lines(),
                steps: part.end.min(from + self.chunk()) - from,
                scales,
                scales_apart,
                add: index > 0,
            };
            self.kernel.multiply(tile.len(), range.len(), &operands, sums);
        }
    }
}
