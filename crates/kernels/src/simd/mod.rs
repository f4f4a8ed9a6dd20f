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
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod region;
mod tile;
mod words;

use std::ops::Range;

pub(crate) use dispatch::dispatch;
pub(crate) use epilogue::{Epilogue, Function};
pub(crate) use region::{Region, regions};
pub(crate) use tile::Operands;
pub(crate) use words::{Line, floats, floats_mut, words, words_mut};

use crate::isa::{Isa, Level};
use crate::panels::{COLUMNS, LINES, Precision};
use tile::Tile;

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

    /// The sums of one panel of a tile of `rows` rows.
    pub(crate) fn panel(&self, panel: usize, rows: usize) -> &[[f32; COLUMNS]] {
        &self.0[panel * rows..][..rows]
    }
}

impl Default for Sums {
    fn default() -> Self {
        Sums([[0.0; COLUMNS]; MOST_ROWS])
    }
}

/// Activations as the kernel reads them; what is missing at the end is zero.
///
/// # Safety
/// The CPU has the instructions of the kernel. Panics if `words` cannot hold the values.
type Encode = unsafe fn(values: &[f32], words: &mut [u32]);

/// Brings `sums`, which are those of the rows and columns of `place`, to the output.
///
/// # Safety
/// The CPU has the instructions of the kernel.
type Finish = unsafe fn(sums: &[[f32; COLUMNS]], place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>);

/// Some rows and columns of a region.
pub(crate) struct Place<'a, 'b> {
    pub(crate) region: &'a mut Region<'b>,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// The functions for one [`Isa`] and one [`Precision`].
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// For one panel, by the number of rows, from one.
    tiles: &'static [(usize, Tile)],
    /// For several panels at once, by the number of rows, from one.
    wide: &'static [(usize, Tile)],
    encode: Encode,
    finish: Finish,
    words: usize,
}

impl Kernel {
    pub(crate) fn new(isa: Isa, precision: Precision) -> Self {
        match (isa.level(), precision) {
            (Level::Portable, precision) => portable::kernel(precision),
            #[cfg(target_arch = "aarch64")]
            (Level::NeonBf16, Precision::Bf16) => neon::kernel_bf16(),
            #[cfg(target_arch = "aarch64")]
            (Level::NeonDot | Level::NeonBf16, Precision::Int8) => neon::kernel_dot(),
            #[cfg(target_arch = "aarch64")]
            (Level::Neon | Level::NeonDot | Level::NeonBf16, precision) => neon::kernel(precision),
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

    /// Panels that these rows are multiplied with at once.
    pub(crate) fn panels(&self, rows: usize) -> usize {
        self.wide.get(rows - 1).map_or(1, |(panels, _)| *panels)
    }

    /// See [`Tile`], for `rows` rows and one panel, or [`Kernel::panels`].
    pub(crate) fn multiply(&self, rows: usize, panels: usize, operands: &Operands<'_>, sums: &mut Sums) {
        let (made_for, tile) = if panels == 1 { self.tiles[rows - 1] } else { self.wide[rows - 1] };
        assert!(panels == made_for, "{panels} panels, not {made_for}");
        // SAFETY: `self` was made from an `Isa`, so the CPU has the instructions.
        unsafe { tile(operands, sums) }
    }

    /// One panel of floats, all of it; `activations` starts at the first row.
    pub(crate) fn tile(&self, activations: &[Line], rows: usize, weights: &[Line], sums: &mut Sums) {
        let operands = Operands {
            activations: words(activations),
            weights,
            apart: 0,
            steps: weights.len() / LINES,
            scales: &[],
            scales_apart: 0,
            add: false,
        };
        self.multiply(rows, 1, &operands, sums);
    }

    /// See [`Encode`].
    pub(crate) fn encode(&self, values: &[f32], words: &mut [u32]) {
        // SAFETY: as in `multiply`.
        unsafe { (self.encode)(values, words) }
    }

    /// See [`Finish`].
    pub(crate) fn finish(&self, sums: &[[f32; COLUMNS]], mut place: Place<'_, '_>, epilogue: &Epilogue<'_>) {
        // SAFETY: as in `multiply`.
        unsafe { (self.finish)(sums, &mut place, epilogue) }
    }
}

/// [`Encode`] for kernels that multiply in f32, compiled again for each.
#[inline(always)]
fn encode_f32(values: &[f32], words: &mut [u32]) {
    let (whole, rest) = words.split_at_mut(values.len());
    whole.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_bits());
    rest.fill(0);
}
