//! Kernels for NEON: 32 registers of 4 values, of which the sums of six rows and half a panel are 24.
//!
//! Products of bf16 and of bytes have no stable intrinsics yet (features `stdarch_neon_bf16` and
//! `stdarch_neon_dotprod`), hence a line of assembly each.

use std::arch::aarch64::*;
use std::arch::asm;

use super::tile::{Arithmetic, tiles};
use super::{Encode, Epilogue, Kernel, Place, encode_f32};
use crate::panels::{Precision, pair_of};

/// The kernel of an arithmetic. Few rows go with several panels: one has too few sums to hide the latency of a
/// product.
macro_rules! kernel {
    ($features:literal, $arithmetic:ty, $encode:expr) => {
        Kernel {
            tiles: tiles!(#[target_feature(enable = $features)] $arithmetic:
                1(1, 8) 2(1, 8) 3(1, 8) 4(1, 4) 5(1, 4) 6(1, 4)),
            wide: tiles!(#[target_feature(enable = $features)] $arithmetic: 1(2, 16)),
            encode: $encode,
            finish,
            words: <$arithmetic as Arithmetic>::WORDS,
        }
    };
}

pub(super) fn kernel(precision: Precision) -> Kernel {
    let encode: Encode = encode_f32;
    match precision {
        Precision::F32 => kernel!("neon", F32, encode),
        Precision::Bf16 => kernel!("neon", Widened, encode),
        Precision::Int8 => kernel!("neon", Int8, encode),
    }
}

/// Products of bf16, summed in f32: twice as many a cycle as of f32.
pub(super) fn kernel_bf16() -> Kernel {
    kernel!("neon,bf16", Bf16, encode_bf16)
}

/// Products of 8-bit integers, four at a time.
pub(super) fn kernel_dot() -> Kernel {
    kernel!("neon,dotprod", Dot, encode_f32)
}

fn encode_bf16(values: &[f32], words: &mut [u32]) {
    assert!(values.len() <= 2 * words.len(), "no room for the activations");
    let (pairs, rest) = words.split_at_mut(values.len().div_ceil(2));
    pairs.iter_mut().zip(values.chunks(2)).for_each(|(word, pair)| *word = pair_of(pair));
    rest.fill(0);
}

fn finish(sums: &[[f32; 32]], place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store(sums: float32x4_t, to: *mut f32, add: bool) {
    // SAFETY: the preconditions.
    unsafe { vst1q_f32(to, if add { vaddq_f32(sums, vld1q_f32(to)) } else { sums }) }
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store_integers(sums: int32x4_t, to: *mut f32, scale: f32, add: bool) {
    // SAFETY: the preconditions.
    unsafe {
        let (sums, scale) = (vcvtq_f32_s32(sums), vdupq_n_f32(scale));
        vst1q_f32(to, if add { vfmaq_f32(vld1q_f32(to), sums, scale) } else { vmulq_f32(sums, scale) });
    }
}

struct F32;

impl Arithmetic for F32 {
    type Sums = float32x4_t;
    type Weights = float32x4_t;
    type Activation = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn begin(_: *const u32) -> float32x4_t {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_f32(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_dup_f32(word.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: float32x4_t, activation: float32x4_t, weights: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmaq_f32(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: float32x4_t, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

/// Weights in bf16 are widened to f32, and activations are f32: for CPUs without products of bf16.
struct Widened;

impl Arithmetic for Widened {
    type Sums = float32x4_t;
    type Weights = float32x4_t;
    type Activation = float32x4_t;
    const LANES: usize = 4;
    const WORDS: usize = 2;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> float32x4_t {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { F32::begin(words) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, part: usize) -> float32x4_t {
        // SAFETY: as above.
        unsafe {
            let pairs = vld1q_u32(words);
            vreinterpretq_f32_u32(match part {
                0 => vshlq_n_u32::<16>(pairs),
                _ => vandq_u32(pairs, vdupq_n_u32(0xffff_0000)),
            })
        }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { F32::activation(word) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: float32x4_t, activation: float32x4_t, weights: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { F32::multiply(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: float32x4_t, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

struct Bf16;

impl Arithmetic for Bf16 {
    type Sums = float32x4_t;
    /// Pairs of bf16.
    type Weights = uint32x4_t;
    type Activation = uint32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> float32x4_t {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { F32::begin(words) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> uint32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_u32(words) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> uint32x4_t {
        // SAFETY: as above.
        unsafe { vld1q_dup_u32(word) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: float32x4_t, activation: uint32x4_t, weights: uint32x4_t) -> float32x4_t {
        let mut sums = sums;
        // SAFETY: as above; nothing but the registers is touched.
        unsafe {
            asm!(".arch_extension bf16", "bfdot {0:v}.4s, {1:v}.8h, {2:v}.8h", inout(vreg) sums, in(vreg) activation,
                in(vreg) weights, options(pure, nomem, nostack, preserves_flags));
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(sums: float32x4_t, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

/// Four bytes of activations for all columns, without the 128 that they are too large: here both sides have signs,
/// so sums begin with nothing.
///
/// # Safety
/// As [`Arithmetic::activation`].
#[inline(always)]
unsafe fn signed(word: *const u32) -> int8x16_t {
    // SAFETY: the preconditions.
    unsafe { vreinterpretq_s8_u32(veorq_u32(vld1q_dup_u32(word), vdupq_n_u32(0x8080_8080))) }
}

struct Dot;

impl Arithmetic for Dot {
    type Sums = int32x4_t;
    type Weights = int8x16_t;
    type Activation = int8x16_t;
    const LANES: usize = 4;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(_: *const u32) -> int32x4_t {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> int8x16_t {
        // SAFETY: as above.
        unsafe { vld1q_s8(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> int8x16_t {
        // SAFETY: as above.
        unsafe { signed(word) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: int32x4_t, activation: int8x16_t, weights: int8x16_t) -> int32x4_t {
        let mut sums = sums;
        // SAFETY: as above; nothing but the registers is touched.
        unsafe {
            asm!(".arch_extension dotprod", "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums,
                in(vreg) activation, in(vreg) weights, options(pure, nomem, nostack, preserves_flags));
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(sums: int32x4_t, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store_integers(sums, to, scale, add) }
    }
}

/// Products of bytes in 16 bits: for CPUs that do not sum four at a time.
struct Int8;

impl Arithmetic for Int8 {
    type Sums = int32x4_t;
    type Weights = int8x16_t;
    type Activation = int8x16_t;
    const LANES: usize = 4;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> int32x4_t {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { Dot::begin(words) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> int8x16_t {
        // SAFETY: as above.
        unsafe { vld1q_s8(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> int8x16_t {
        // SAFETY: as above.
        unsafe { signed(word) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: int32x4_t, activation: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: as above.
        unsafe {
            let low = vmull_s8(vget_low_s8(activation), vget_low_s8(weights));
            let high = vmull_high_s8(activation, weights);
            // Two products are at most 2 · 127²: below 2¹⁵.
            vpadalq_s16(sums, vpaddq_s16(low, high))
        }
    }

    #[inline(always)]
    unsafe fn store(sums: int32x4_t, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store_integers(sums, to, scale, add) }
    }
}
