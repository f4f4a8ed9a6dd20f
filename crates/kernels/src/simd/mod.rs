//! The only room with `unsafe` code: kernels, and memory that several threads write to.
//!
//! A kernel multiplies some rows of activations with a block of a panel. Its functions check the sizes
//! of what they are given, so the one precondition of calling them is that the CPU has their
//! instructions; a [`Kernel`] is made from an [`Isa`], which exists only if it has.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod portable;
mod region;
mod words;

use std::ops::Range;

pub(crate) use dispatch::dispatch;
pub(crate) use region::{Region, regions};
pub(crate) use words::{Line, floats, floats_mut, words_mut};

use crate::isa::{Isa, Level};
use crate::panels::{COLUMNS, LINES, Precision};

/// Words from one row of activations to the next. Not a multiple of 4096 bytes: the rows of a tile would
/// fall on the same lines of the L1 cache.
pub(crate) const STRIDE: usize = 1024 + 16;

/// Most rows of any kernel.
const MOST_ROWS: usize = 12;

/// The sums of a tile.
#[repr(C, align(64))]
pub(crate) struct Sums([[f32; COLUMNS]; MOST_ROWS]);

impl Sums {
    /// The sums of one row of the tile.
    pub(crate) fn row(&self, row: usize) -> &[f32; COLUMNS] {
        &self.0[row]
    }
}

impl Default for Sums {
    fn default() -> Self {
        Sums([[0.0; COLUMNS]; MOST_ROWS])
    }
}

/// `sums = activations · weights`, for as many rows as the function is made for. Activations are rows
/// [`STRIDE`] words apart, weights [`LINES`] lines a step.
///
/// # Safety
/// The CPU has the instructions of the kernel. Panics if an argument is too short.
type Tile = unsafe fn(activations: &[u32], weights: &[Line], sums: &mut Sums);

/// Activations as the kernel reads them; what is missing at the end is zero.
///
/// # Safety
/// The CPU has the instructions of the kernel. Panics if `words` cannot hold the values.
type Encode = unsafe fn(values: &[f32], words: &mut [u32]);

/// `out = sums + bias`, or `out += …`, for one row.
///
/// # Safety
/// The CPU has the instructions of the kernel.
type Finish = unsafe fn(sums: &[f32; COLUMNS], out: &mut [f32], bias: Option<&[f32]>, add: bool);

/// The functions for one [`Isa`] and one [`Precision`].
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// By the number of rows, from one.
    tiles: &'static [Tile],
    encode: Encode,
    finish: Finish,
    words: usize,
}

/// A table of tile functions for 1, 2, … rows.
macro_rules! tiles {
    ($tile:ident: $($rows:literal)*) => {{
        const TILES: &[$crate::simd::Tile] = &[$($tile::<$rows>),*];
        TILES
    }};
}
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_imports))]
use tiles;

impl Kernel {
    pub(crate) fn new(isa: Isa, precision: Precision) -> Self {
        match (isa.level(), precision) {
            (Level::Portable, precision) => portable::kernel(precision),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, precision) => avx2::kernel(precision),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, precision) => avx512::kernel(precision),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512Bf16, Precision::F32) => avx512::kernel(precision),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512Bf16, Precision::Bf16) => avx512::kernel_bf16(),
        }
    }

    /// Rows of a full tile.
    pub(crate) fn rows(&self) -> usize {
        self.tiles.len()
    }

    /// Words of activations for a step of weights.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// See [`Tile`]; `activations` starts at the first row.
    pub(crate) fn tile(&self, activations: &[Line], rows: usize, weights: &[Line], sums: &mut Sums) {
        // SAFETY: `self` was made from an `Isa`, so the CPU has the instructions.
        unsafe { self.tiles[rows - 1](words::words(activations), weights, sums) }
    }

    /// See [`Encode`].
    pub(crate) fn encode(&self, values: &[f32], words: &mut [u32]) {
        // SAFETY: as in `tile`.
        unsafe { (self.encode)(values, words) }
    }

    /// Writes the sums of a tile to `rows` and `columns` of the output.
    pub(crate) fn finish(
        &self,
        sums: &Sums,
        region: &mut Region<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        bias: Option<&[f32]>,
        add: bool,
    ) {
        for (sums, row) in sums.0.iter().zip(rows) {
            // SAFETY: as in `tile`.
            unsafe { (self.finish)(sums, region.row(row, columns.clone()), bias, add) }
        }
    }
}

/// Checks that a tile function may read what its arguments promise: the only thing that stands between
/// safe callers and its pointers.
#[inline(always)]
fn check(activations: &[u32], weights: &[Line], rows: usize, words: usize) -> usize {
    let steps = weights.len() / LINES;
    assert!(steps * words <= STRIDE, "a block is longer than a row of activations");
    assert!((rows - 1) * STRIDE + steps * words <= activations.len(), "too few activations");
    assert!(rows <= MOST_ROWS, "no room for the sums");
    steps
}

/// [`Finish`], compiled again for each kernel.
#[inline(always)]
fn finish(sums: &[f32; COLUMNS], out: &mut [f32], bias: Option<&[f32]>, add: bool) {
    let mut sums = *sums;
    if let Some(bias) = bias {
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
    }
    match (<&mut [f32; COLUMNS]>::try_from(&mut *out), add) {
        // A whole panel: the compiler sees the length.
        (Ok(out), true) => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
        (Ok(out), false) => *out = sums,
        (Err(_), true) => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
        (Err(_), false) => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum),
    }
}

/// [`Encode`] for kernels that multiply in f32, compiled again for each.
#[inline(always)]
fn encode_f32(values: &[f32], words: &mut [u32]) {
    let (whole, rest) = words.split_at_mut(values.len());
    whole.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_bits());
    rest.fill(0);
}
