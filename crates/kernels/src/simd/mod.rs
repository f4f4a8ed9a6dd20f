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
mod epilogue;
mod portable;
mod region;
mod words;

use std::ops::Range;

pub(crate) use dispatch::dispatch;
pub(crate) use epilogue::{Epilogue, Function};
pub(crate) use region::{Region, regions};
pub(crate) use words::{Line, floats, floats_mut, words_mut};

use crate::isa::{Isa, Level};
use crate::panels::{COLUMNS, LINES, Precision};

/// Words from one row of activations to the next. Not a multiple of 4096 bytes: the rows of a tile would
/// fall on the same lines of the L1 cache.
pub(crate) const STRIDE: usize = 1024 + 16;

/// Most rows of any kernel.
pub(crate) const MOST_ROWS: usize = 12;

/// The sums of a tile.
#[repr(C, align(64))]
pub(crate) struct Sums([[f32; COLUMNS]; MOST_ROWS]);

impl Sums {
    /// The sums of one row of the tile.
    #[inline(always)]
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

/// `total = sums · scales`, or `total += …`; there is a scale for each row that counts.
///
/// # Safety
/// The CPU has the instructions of the kernel.
type Accumulate = unsafe fn(total: &mut Sums, sums: &Sums, scales: &[f32], add: bool);

/// Brings `sums`, which are those of the first rows and columns of `place`, to the output.
///
/// # Safety
/// The CPU has the instructions of the kernel.
type Finish = unsafe fn(sums: &Sums, place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>);

/// Some rows and columns of a region.
pub(crate) struct Place<'a, 'b> {
    pub(crate) region: &'a mut Region<'b>,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// The functions for one [`Isa`] and one [`Precision`].
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// By the number of rows, from one.
    tiles: &'static [Tile],
    encode: Encode,
    accumulate: Accumulate,
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
            (Level::AvxVnni, Precision::Int8) => avx2::kernel_vnni(),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2 | Level::AvxVnni, precision) => avx2::kernel(precision),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512Bf16, Precision::Bf16) => avx512::kernel_bf16(),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512Vnni | Level::Avx512Bf16, Precision::Int8) => avx512::kernel_vnni(),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16, precision) => avx512::kernel(precision),
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

    /// See [`Accumulate`].
    pub(crate) fn accumulate(&self, total: &mut Sums, sums: &Sums, scales: &[f32], add: bool) {
        // SAFETY: as in `tile`.
        unsafe { (self.accumulate)(total, sums, scales, add) }
    }

    /// See [`Finish`].
    pub(crate) fn finish(&self, sums: &Sums, mut place: Place<'_, '_>, epilogue: &Epilogue<'_>) {
        // SAFETY: as in `tile`.
        unsafe { (self.finish)(sums, &mut place, epilogue) }
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

/// As [`check`], for panels of int8: what the sums begin with stands before the weights.
#[inline(always)]
fn check_int8(activations: &[u32], weights: &[Line], rows: usize) -> usize {
    let begin = weights.first_chunk::<LINES>().is_some();
    assert!(begin, "a block of int8 without what its sums begin with");
    check(activations, &weights[LINES..], rows, 1)
}

/// [`Encode`] for kernels that multiply in f32, compiled again for each.
#[inline(always)]
fn encode_f32(values: &[f32], words: &mut [u32]) {
    let (whole, rest) = words.split_at_mut(values.len());
    whole.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_bits());
    rest.fill(0);
}
