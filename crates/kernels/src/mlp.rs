//! Two layers one after the other: the MLP of a transformer.
//!
//! Where there are rows enough, a task takes a block of them through both layers, and what is between them never
//! leaves the L2 cache: some columns of the first layer's results become inputs of the second, which adds its part of
//! the sums to the output. Otherwise the layers run one after the other, so that all threads have work.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::block::{Call, Input, grow};
use crate::linear::{Activation, Linear, Output};
use crate::panels::{INT8_BLOCK, Precision};
use crate::quantized::Quantized;
use crate::schedule::{TASK_ROWS, cuts, keep, quantized, threads};
use crate::simd::{Line, Region, floats_mut, regions};

/// Results of the first layer that are brought into the second one's input at once: a group of int8.
const STRIP: usize = 4 * INT8_BLOCK;
/// Words that a block may hold of its rows: 672 kB, with room for a panel in an L2 cache of 1 MB.
const BLOCK_WORDS: usize = 168 << 10;
/// Fewest rows that must fit into a block. With fewer, loading the weights more often costs what the cache saves.
const FEWEST_FIT: usize = 80;
/// Fewest rows of a block, where there are not enough for all threads.
const FEWEST_ROWS: usize = 48;
/// Rows that pass through one layer before the other, where they do.
const TILE_ROWS: usize = 192;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread holds of a block.
#[derive(Default)]
struct Scratch {
    x: Vec<Line>,
    strip: Vec<Line>,
    inner: Vec<Line>,
    quantized: Quantized,
}

/// An MLP: `second(f(first(x)))`.
#[derive(Debug, Clone, Copy)]
pub struct Mlp<'a> {
    /// From the width of the model to the inner width.
    pub first: &'a Linear,
    /// What is done to the results of `first`; nothing, if that is gated.
    pub activation: Activation,
    /// Back to the width of the model.
    pub second: &'a Linear,
}

impl Mlp<'_> {
    /// Adds what comes of `rows` rows of `x` to `out`; without an `x`, what `out` holds is the input as well. The
    /// work is shared among the threads of the current rayon pool. A row's result depends neither on the other
    /// rows nor on the number of threads.
    ///
    /// `inner` is memory for [`Mlp::inner`] values. `stop` is asked every few milliseconds; once it says yes, the
    /// call ends and gives `false`, and `out` is of no use.
    ///
    /// # Panics
    /// If the widths of the layers do not fit together, or sizes do not fit to them.
    pub fn forward(
        &self,
        x: Option<&[f32]>,
        rows: usize,
        out: &mut [f32],
        inner: &mut [f32],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> bool {
        let (width, between, outputs) = (self.first.inputs(), self.first.outputs(), self.second.outputs());
        assert!(between == self.second.inputs(), "the layers have {between} and {} values", self.second.inputs());
        assert!(out.len() == rows * outputs, "out has {} values, not {rows} × {outputs}", out.len());
        match x {
            Some(x) => assert!(x.len() == rows * width, "x has {} values, not {rows} × {width}", x.len()),
            None => assert!(width == outputs, "rows of {width} values are to become rows of {outputs}"),
        }
        assert!(inner.len() >= self.inner(rows), "{} values are too few", inner.len());
        if rows == 0 || outputs == 0 {
            return true;
        }
        if let Some(blocks) = self.blocks(rows) {
            // Integers are rounded for all blocks at once, before the output is written to.
            let quantized = quantized(self.first.layer(self.activation), x.unwrap_or(out), rows);
            let input = match (&quantized, x) {
                (Some(quantized), _) => Input::Quantized(quantized),
                (None, Some(x)) => Input::Floats(x),
                (None, None) => Input::Output,
            };
            let done = self.in_blocks(input, blocks, rows, out, stop);
            keep(quantized);
            return done;
        }
        for from in (0..rows).step_by(TILE_ROWS) {
            if stop() {
                return false;
            }
            let to = rows.min(from + TILE_ROWS);
            let out = &mut out[from * outputs..to * outputs];
            let x = x.map_or(&*out, |x| &x[from * width..to * width]);
            let inner = &mut inner[..(to - from) * between];
            self.first.run(x, to - from, inner, Output::Replace, self.activation);
            if stop() {
                return false;
            }
            self.second.forward(inner, to - from, out, Output::Add);
        }
        true
    }

    /// Values that [`Mlp::forward`] needs memory for, on the current rayon pool.
    pub fn inner(&self, rows: usize) -> usize {
        if self.blocks(rows).is_some() { 0 } else { rows.min(TILE_ROWS) * self.first.outputs() }
    }

    /// Into how many blocks rows are cut, if that is worth it: as many for each thread.
    fn blocks(&self, rows: usize) -> Option<usize> {
        let (first, second) = (self.first_call(Input::Output), self.second_call(Input::Output));
        // Sums of chunks would be handed on before they are complete; and where nothing is summed, biases are due.
        if first.sums_alone() || first.steps() == 0 || second.steps() == 0 {
            return None;
        }
        let words = |call: &Call<'_>| call.chunk().min(call.steps()) * call.kernel().words();
        let words = words(&first) * first.chunks_together() + STRIP + words(&second);
        let tile = first.kernel().rows();
        let most = (BLOCK_WORDS / words).min(TASK_ROWS) / tile * tile;
        let threads = threads(rows, &[self.first.layer(self.activation), self.second.layer(Activation::Identity)]);
        let blocks = rows.div_ceil(most.max(1)).next_multiple_of(threads);
        (most >= FEWEST_FIT && rows / blocks.max(1) >= FEWEST_ROWS).then_some(blocks)
    }

    fn first_call<'b>(&'b self, x: Input<'b>) -> Call<'b> {
        Call::new(self.first.layer(self.activation), x, Output::Replace)
    }

    fn second_call<'b>(&'b self, x: Input<'b>) -> Call<'b> {
        Call::new(self.second.layer(Activation::Identity), x, Output::Add)
    }

    fn in_blocks(
        &self,
        x: Input<'_>,
        blocks: usize,
        rows: usize,
        out: &mut [f32],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> bool {
        let first = self.first_call(x);
        let (outputs, tile) = (self.second.outputs(), first.kernel().rows());
        let regions = regions(out, rows, outputs, &cuts(rows.div_ceil(tile), blocks, tile, rows), &[outputs]);
        let block = |region| SCRATCH.with_borrow_mut(|scratch| self.block(&first, region, scratch, stop));
        regions.into_par_iter().with_max_len(1).all(block)
    }

    /// Takes the rows of `region` through both layers; `false` if it was stopped.
    fn block(&self, first: &Call<'_>, mut region: Region<'_>, scratch: &mut Scratch, stop: &dyn Fn() -> bool) -> bool {
        let Scratch { x, strip, inner, quantized } = scratch;
        let (rows, all) = (region.rows(), 0..first.steps());
        let layer = self.second.layer(Activation::Identity);
        let (width, per_word) = (layer.panels.inputs(), layer.panels.precision().weights_per_word());
        let int8 = layer.panels.precision() == Precision::Int8;
        // Its input is brought into the buffer here.
        let second = self.second_call(Input::Output);
        first.encode(x, &region, all.clone());
        grow(strip, rows.len() * STRIP / 16);
        if int8 {
            quantized.begin(rows.clone(), width);
        }
        for from in (0..second.steps()).step_by(second.chunk()) {
            if stop() {
                return false;
            }
            let part = from..second.steps().min(from + second.chunk());
            let columns = part.start * per_word..width.min(part.end * per_word);
            for start in columns.clone().step_by(STRIP) {
                let results = start..columns.end.min(start + STRIP);
                let values = &mut floats_mut(strip)[..rows.len() * results.len()];
                first.multiply(x, &mut Region::whole(values, rows.clone(), results.clone()), all.clone());
                if int8 {
                    quantized.set_group(layer.isa, values, start / STRIP, layer.panels.factors());
                } else {
                    second.encode_at(inner, values, results.len(), start - columns.start);
                }
            }
            if int8 {
                let second = self.second_call(Input::Quantized(quantized));
                second.encode(inner, &region, part.clone());
                second.multiply(inner, &mut region, part);
            } else {
                second.multiply(inner, &mut region, part);
            }
        }
        true
    }
}
