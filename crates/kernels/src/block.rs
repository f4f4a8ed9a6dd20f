//! A block of rows on its way through the panels of a layer.
//!
//! A part of the inputs of the rows is copied into a buffer that stays in the L2 cache (rows there are a fixed
//! distance apart, so that addresses are constants in the kernels), and goes over the panels with it: each weight
//! is loaded once a block.

use std::ops::Range;

use crate::isa::Isa;
use crate::linear::{Activation, Output};
use crate::panels::{COLUMNS, INT8_BLOCK, Panels};
use crate::quantized::Quantized;
use crate::simd::{Epilogue, Function, Kernel, Line, Operands, Place, Region, STRIDE, Sums, words, words_mut};

/// Words of a row that are in the buffer together. Their sums go to the output before the next come.
const CHUNK_WORDS: usize = 1024;
/// Lines from one row of activations to the next.
pub(crate) const ROW_LINES: usize = STRIDE / 16;

/// A layer as the kernels need it.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) panels: &'a Panels,
    pub(crate) bias: Option<&'a [[f32; COLUMNS]]>,
    pub(crate) activation: Activation,
    pub(crate) isa: Isa,
}

/// The input of a call.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// All rows.
    Floats(&'a [f32]),
    /// All rows, rounded.
    Quantized(&'a Quantized),
    /// What the output holds.
    Output,
}

/// A layer with its input.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    layer: Layer<'a>,
    kernel: Kernel,
    x: Input<'a>,
    function: Function,
    output: Output,
}

impl<'a> Call<'a> {
    pub(crate) fn new(layer: Layer<'a>, x: Input<'a>, output: Output) -> Self {
        let kernel = Kernel::new(layer.isa, layer.panels.precision());
        let function = if layer.panels.is_gated() { Function::Gated } else { Function::Of(layer.activation) };
        Call { layer, kernel, x, function, output }
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Steps of the layer.
    pub(crate) fn steps(&self) -> usize {
        self.layer.panels.steps()
    }

    /// Steps that are in the buffer together.
    pub(crate) fn chunk(&self) -> usize {
        CHUNK_WORDS / self.kernel.words()
    }

    /// Whether results are sums and nothing else.
    pub(crate) fn sums_alone(&self) -> bool {
        matches!(self.function, Function::Of(Activation::Identity))
    }

    /// Chunks that must be summed before the results are what they are: all, unless the results are sums.
    pub(crate) fn chunks_together(&self) -> usize {
        if self.sums_alone() { 1 } else { self.steps().div_ceil(self.chunk()).max(1) }
    }

    /// Brings the inputs `part` (counted in steps) of the rows of `region` into the buffer: chunk by chunk, row by
    /// row.
    pub(crate) fn encode(&self, scratch: &mut Vec<Line>, region: &Region<'_>, part: Range<usize>) {
        let rows = region.rows();
        grow(scratch, part.len().div_ceil(self.chunk()).max(1) * rows.len() * ROW_LINES);
        let panels = self.layer.panels;
        let (width, per_word) = (panels.inputs(), panels.precision().weights_per_word());
        for (chunk, lines) in part.clone().step_by(self.chunk()).zip(scratch.chunks_mut(rows.len() * ROW_LINES)) {
            let chunk = chunk..part.end.min(chunk + self.chunk());
            let inputs = chunk.start * per_word..width.min(chunk.end * per_word);
            for (row, lines) in rows.clone().zip(lines.chunks_exact_mut(ROW_LINES)) {
                let words = &mut words_mut(lines)[..chunk.len() * self.kernel.words()];
                match self.x {
                    Input::Floats(x) => self.kernel.encode(&x[row * width..][inputs.clone()], words),
                    Input::Output => self.kernel.encode(region.read(row, inputs.clone()), words),
                    Input::Quantized(x) => {
                        let bytes = &x.bytes(row)[4 * chunk.start..4 * chunk.end];
                        let fours = bytes.as_chunks::<4>().0;
                        words.iter_mut().zip(fours).for_each(|(word, four)| *word = u32::from_le_bytes(*four));
                    }
                }
            }
        }
    }

    /// Brings `width` inputs of each row of `values` into the buffer, as those from input `at` of a chunk on: whole
    /// words of them, unless they are the last.
    pub(crate) fn encode_at(&self, scratch: &mut Vec<Line>, values: &[f32], width: usize, at: usize) {
        let rows = values.len() / width;
        grow(scratch, rows * ROW_LINES);
        let per_word = self.layer.panels.precision().weights_per_word();
        let words = at / per_word * self.kernel.words()..(at + width).div_ceil(per_word) * self.kernel.words();
        for (values, lines) in values.chunks_exact(width).zip(scratch.chunks_exact_mut(ROW_LINES)) {
            self.kernel.encode(values, &mut words_mut(lines)[words.clone()]);
        }
    }

    /// Multiplies the rows in the buffer with a part of the panels that have the columns of `region`.
    pub(crate) fn multiply(&self, scratch: &[Line], region: &mut Region<'_>, part: Range<usize>) {
        let unit = self.layer.panels.unit();
        let range = region.columns().start / unit..region.columns().end.div_ceil(unit);
        let at_once = self.kernel.panels(region.rows().len());
        let mut sums = Sums::default();
        let mut next = range.start;
        while next < range.end {
            let panels = if next + at_once <= range.end { at_once } else { 1 };
            self.panels(scratch, &mut sums, region, next..next + panels, part.clone());
            next += panels;
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
            let tile = part_of(rows.len(), tiles, tile);
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
                Input::Floats(_) | Input::Output => (&[][..], 0),
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

/// Part `at` of `count` nearly equal parts of `0..len`.
pub(crate) fn part_of(len: usize, count: usize, at: usize) -> Range<usize> {
    len * at / count..len * (at + 1) / count
}

/// Makes a buffer at least so long.
pub(crate) fn grow(lines: &mut Vec<Line>, len: usize) {
    if lines.len() < len {
        lines.resize(len, Line::default());
    }
}
