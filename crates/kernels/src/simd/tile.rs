//! The loops that all kernels share: a tile of rows times some panels, all sums in registers.

use super::{Line, MOST_ROWS, STRIDE, Sums};
use crate::panels::{COLUMNS, INT8_BLOCK, LINES};

/// What a tile function multiplies.
pub(crate) struct Operands<'a> {
    /// From the first of the rows on, which are [`STRIDE`] words apart.
    pub(crate) activations: &'a [u32],
    /// From the first step of the first panel on, [`LINES`] lines a step; for int8 with what stands before
    /// blocks.
    pub(crate) weights: &'a [Line],
    /// Lines from one panel to the next.
    pub(crate) apart: usize,
    /// Steps to multiply, without those that stand before blocks.
    pub(crate) steps: usize,
    /// For int8: what the sums of a block are multiplied with, block by block, from the first row on.
    pub(crate) scales: &'a [f32],
    /// Scales from one row to the next.
    pub(crate) scales_apart: usize,
    /// Whether results are added to the sums that are there; otherwise they replace them.
    pub(crate) add: bool,
}

/// `sums = activations · weights`, or `sums += …`, for as many rows and panels as the function is made for. Sums
/// of panel `p` and row `r` are row `p · rows + r` of `sums`.
///
/// # Safety
/// The CPU has the instructions of the kernel. Panics if an argument is too short.
pub(super) type Tile = unsafe fn(operands: &Operands<'_>, sums: &mut Sums);

/// What one kernel does with its registers. The methods are compiled into functions that have the
/// instructions turned on.
pub(super) trait Arithmetic {
    /// A register of sums, of [`Self::LANES`] columns.
    type Sums: Copy;
    /// The weights that are multiplied with one word of activations, for as many columns.
    type Weights: Copy;
    /// A word of activations, for all columns.
    type Activation: Copy;
    /// Columns of a register.
    const LANES: usize;
    /// Words of activations for a step of weights.
    const WORDS: usize = 1;
    /// Whether panels are cut into blocks of [`INT8_BLOCK`] steps, each after what its sums begin with.
    const BLOCKS: bool = false;

    /// Sums of nothing, or what stands before a block.
    ///
    /// # Safety
    /// The CPU has the instructions: the same holds for all methods. If there are blocks, `LANES` words may be
    /// read, aligned to as many.
    unsafe fn begin(words: *const u32) -> Self::Sums;

    /// The part of a step's weights that belongs to word `part` of the activations.
    ///
    /// # Safety
    /// `LANES` words may be read, aligned to as many.
    unsafe fn weights(words: *const u32, part: usize) -> Self::Weights;

    /// The word for all columns.
    ///
    /// # Safety
    /// It may be read.
    unsafe fn activation(word: *const u32) -> Self::Activation;

    /// `sums + activation · weights`
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn multiply(sums: Self::Sums, activation: Self::Activation, weights: Self::Weights) -> Self::Sums;

    /// Writes sums, or adds them to what is there; those of blocks are multiplied with `scale`.
    ///
    /// # Safety
    /// `LANES` values may be read and written, aligned to as many.
    unsafe fn store(sums: Self::Sums, to: *mut f32, scale: f32, add: bool);
}

/// Steps that weights are asked for ahead of their use: the CPU's own prefetching stops at the end of a page.
const AHEAD: usize = 16;

/// A [`Tile`] function. `REGISTERS` registers of each row are summed at a time: more would not fit, fewer
/// would wait for each other.
///
/// # Safety
/// The CPU has the instructions of `A`. Panics if an argument is too short.
#[inline(always)]
pub(super) unsafe fn tile<A: Arithmetic, const ROWS: usize, const PANELS: usize, const REGISTERS: usize>(
    operands: &Operands<'_>,
    sums: &mut Sums,
) {
    let Operands { activations, weights, apart, steps, scales, scales_apart, add } = *operands;
    const { assert!(ROWS >= 1 && PANELS >= 1 && ROWS * PANELS <= MOST_ROWS, "no room for the sums") };
    const { assert!(COLUMNS.is_multiple_of(A::LANES) && (PANELS * COLUMNS / A::LANES).is_multiple_of(REGISTERS)) };
    // All that stands between safe callers and the pointers below.
    let block = if A::BLOCKS { INT8_BLOCK } else { usize::MAX };
    let blocks = if A::BLOCKS { steps.div_ceil(INT8_BLOCK) } else { 0 };
    assert!(steps * A::WORDS <= STRIDE, "more steps than a row of activations has");
    assert!((ROWS - 1) * STRIDE + steps * A::WORDS <= activations.len(), "too few activations");
    assert!((PANELS - 1) * apart + (steps + blocks) * LINES <= weights.len(), "too few weights");
    assert!(!A::BLOCKS || (ROWS - 1) * scales_apart + blocks <= scales.len(), "too few scales");

    let activations = activations.as_ptr();
    let weights = weights.as_ptr().cast::<u32>();
    let sums = sums.0.as_mut_ptr().cast::<f32>();
    // Which panel a register belongs to, and where in a step of it.
    let place = |register: usize| {
        let column = register * A::LANES;
        (column / COLUMNS, column % COLUMNS)
    };
    for first in (0..PANELS * COLUMNS / A::LANES).step_by(REGISTERS) {
        // SAFETY: the checks above; the columns of a register lie within a step of its panel. A step is whole
        // lines and a row of sums as well, so all registers are aligned.
        unsafe {
            let at = |register: usize, step: usize| {
                let (panel, column) = place(first + register);
                weights.add(panel * apart * 16 + step * COLUMNS + column)
            };
            let (mut from, mut index, mut add) = (0, 0, add);
            loop {
                // Where the block begins among all that is in the panel.
                let base = from + index;
                let mut acc = [[A::begin(at(0, base)); REGISTERS]; ROWS];
                if A::BLOCKS {
                    for register in 1..REGISTERS {
                        let begin = A::begin(at(register, base));
                        acc.iter_mut().for_each(|acc| acc[register] = begin);
                    }
                }
                let base = base + usize::from(A::BLOCKS);
                let len = (steps - from).min(block);
                for step in 0..len {
                    for register in (0..REGISTERS).step_by((16 / A::LANES).max(1)) {
                        prefetch(at(register, base + step).wrapping_add(AHEAD * COLUMNS));
                    }
                    for part in 0..A::WORDS {
                        let mut of_step = [A::weights(at(0, base + step), part); REGISTERS];
                        for (register, weights) in of_step.iter_mut().enumerate().skip(1) {
                            *weights = A::weights(at(register, base + step), part);
                        }
                        for (row, acc) in acc.iter_mut().enumerate() {
                            let word = row * STRIDE + (from + step) * A::WORDS + part;
                            let x = A::activation(activations.add(word));
                            for (acc, weights) in acc.iter_mut().zip(of_step) {
                                *acc = A::multiply(*acc, x, weights);
                            }
                        }
                    }
                }
                for (row, acc) in acc.into_iter().enumerate() {
                    let scale = if A::BLOCKS { *scales.get_unchecked(row * scales_apart + index) } else { 1.0 };
                    for (register, acc) in acc.into_iter().enumerate() {
                        let (panel, column) = place(first + register);
                        A::store(acc, sums.add((panel * ROWS + row) * COLUMNS + column), scale, add);
                    }
                }
                from += len;
                if from == steps {
                    break;
                }
                (index, add) = (index + 1, true);
            }
        }
    }
}

/// Asks for the weights of a later step. An address beyond the end is no error: nothing is read.
#[inline(always)]
fn prefetch(address: *const u32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction, and nothing is read.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// A table of tile functions of one kernel, for 1, 2, … rows: the panels of each, and the registers that it
/// sums at a time.
macro_rules! tiles {
    ($(#[$attribute:meta])? $arithmetic:ty: $($rows:literal($panels:literal, $registers:literal))*) => {{
        $(#[$attribute])?
        fn multiply<const ROWS: usize, const PANELS: usize, const REGISTERS: usize>(
            operands: &$crate::simd::Operands<'_>,
            sums: &mut $crate::simd::Sums,
        ) {
            // SAFETY: the instructions are those that this function is compiled for.
            unsafe { $crate::simd::tile::tile::<$arithmetic, ROWS, PANELS, REGISTERS>(operands, sums) }
        }
        const TILES: &[(usize, $crate::simd::tile::Tile)] =
            &[$(($panels, multiply::<$rows, $panels, $registers>)),*];
        TILES
    }};
}
pub(super) use tiles;
