//! Kernels that the compiler vectorises for what every CPU of the target has: the sums of four rows and half a
//! panel are 16 registers of four.

use super::tile::{Arithmetic, tiles};
use super::{Epilogue, Kernel, Place, encode_f32};
use crate::panels::Precision;

macro_rules! kernel {
    ($arithmetic:ty) => {
        Kernel {
            tiles: tiles!($arithmetic: 1(1, 4) 2(1, 4) 3(1, 4) 4(1, 4)),
            wide: &[],
            encode: encode_f32,
            finish,
            words: <$arithmetic as Arithmetic>::WORDS,
        }
    };
}

pub(super) fn kernel(precision: Precision) -> Kernel {
    match precision {
        Precision::F32 => kernel!(F32),
        Precision::Bf16 => kernel!(Widened),
        Precision::Int8 => kernel!(Int8),
    }
}

fn finish(sums: &[[f32; 32]], place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// One rounding where the target has the instruction, two elsewhere: a call of the C library's `fmaf`
/// would be far slower.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

/// Columns of a register.
const LANES: usize = 4;

/// Four words.
///
/// # Safety
/// They may be read, aligned to as many.
#[inline(always)]
unsafe fn load(words: *const u32) -> [u32; LANES] {
    // SAFETY: the precondition.
    unsafe { *words.cast() }
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store(sums: [f32; LANES], to: *mut f32, scale: Option<f32>, add: bool) {
    // SAFETY: the preconditions.
    let to = unsafe { &mut *to.cast::<[f32; LANES]>() };
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = match (scale, add) {
            (None, false) => sum,
            (None, true) => sum + *to,
            (Some(scale), false) => sum * scale,
            (Some(scale), true) => mul_add(sum, scale, *to),
        };
    }
}

struct F32;

impl Arithmetic for F32 {
    type Sums = [f32; LANES];
    type Weights = [f32; LANES];
    type Activation = f32;
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn begin(_: *const u32) -> Self::Sums {
        [0.0; LANES]
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> Self::Weights {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { load(words) }.map(f32::from_bits)
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> f32 {
        // SAFETY: as above.
        f32::from_bits(unsafe { *word })
    }

    #[inline(always)]
    unsafe fn multiply(sums: Self::Sums, activation: f32, weights: Self::Weights) -> Self::Sums {
        std::array::from_fn(|lane| mul_add(activation, weights[lane], sums[lane]))
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, None, add) }
    }
}

/// Weights in bf16 are widened to f32, and activations are f32.
struct Widened;

impl Arithmetic for Widened {
    type Sums = [f32; LANES];
    type Weights = [f32; LANES];
    type Activation = f32;
    const LANES: usize = LANES;
    const WORDS: usize = 2;

    #[inline(always)]
    unsafe fn begin(_: *const u32) -> Self::Sums {
        [0.0; LANES]
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, part: usize) -> Self::Weights {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        let pairs = unsafe { load(words) };
        pairs.map(|pair| f32::from_bits(if part == 0 { pair << 16 } else { pair & 0xffff_0000 }))
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> f32 {
        // SAFETY: as above.
        f32::from_bits(unsafe { *word })
    }

    #[inline(always)]
    unsafe fn multiply(sums: Self::Sums, activation: f32, weights: Self::Weights) -> Self::Sums {
        std::array::from_fn(|lane| mul_add(activation, weights[lane], sums[lane]))
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, None, add) }
    }
}

/// Products of bytes, in 32 bits.
struct Int8;

impl Arithmetic for Int8 {
    type Sums = [i32; LANES];
    type Weights = [[i32; LANES]; 4];
    type Activation = [i32; 4];
    const LANES: usize = LANES;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> Self::Sums {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { load(words) }.map(u32::cast_signed)
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> Self::Weights {
        // SAFETY: as above.
        let words = unsafe { load(words) };
        std::array::from_fn(|byte| words.map(|word| (word << (24 - 8 * byte)).cast_signed() >> 24))
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> [i32; 4] {
        // SAFETY: as above.
        let word = unsafe { *word };
        std::array::from_fn(|byte| (word >> (8 * byte) & 0xff).cast_signed())
    }

    #[inline(always)]
    unsafe fn multiply(sums: Self::Sums, activation: [i32; 4], weights: Self::Weights) -> Self::Sums {
        let mut sums = sums;
        for (x, weights) in activation.into_iter().zip(weights) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums.map(|sum| sum as f32), to, Some(scale), add) }
    }
}
