//! Kernels for AVX2 and FMA: 16 registers of 8 values, of which the sums of six rows and half a panel are 12.

use std::arch::x86_64::*;

use super::tile::{Arithmetic, tiles};
use super::{Epilogue, Kernel, Place};
use crate::panels::Precision;

/// The kernel of an arithmetic. Few rows go with several panels: half of one has too few sums to hide the latency
/// of a product.
macro_rules! kernel {
    ($features:literal, $arithmetic:ty: $($tiles:tt)*) => {
        Kernel {
            tiles: tiles!(#[target_feature(enable = $features)] $arithmetic: $($tiles)*),
            wide: tiles!(#[target_feature(enable = $features)] $arithmetic: 1(2, 8) 2(2, 4)),
            encode,
            finish,
            words: <$arithmetic as Arithmetic>::WORDS,
        }
    };
}

pub(super) fn kernel(precision: Precision) -> Kernel {
    match precision {
        Precision::F32 => kernel!("avx2,fma", F32: 1(1, 4) 2(1, 4) 3(1, 2) 4(1, 2) 5(1, 2) 6(1, 2)),
        Precision::Bf16 => kernel!("avx2,fma", Widened: 1(1, 4) 2(1, 4) 3(1, 2) 4(1, 2) 5(1, 2) 6(1, 2)),
        Precision::Int8 => kernel!("avx2,fma", Int8: 1(1, 2) 2(1, 2) 3(1, 2) 4(1, 2)),
    }
}

/// Products of 8-bit integers, four at a time.
pub(super) fn kernel_vnni() -> Kernel {
    kernel!("avx2,fma,avxvnni", Vnni: 1(1, 4) 2(1, 4) 3(1, 2) 4(1, 2) 5(1, 2) 6(1, 2))
}

#[target_feature(enable = "avx2,fma")]
fn encode(values: &[f32], words: &mut [u32]) {
    super::encode_f32(values, words);
}

#[target_feature(enable = "avx2,fma")]
fn finish(sums: &[[f32; 32]], place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store(sums: __m256, to: *mut f32, add: bool) {
    // SAFETY: the preconditions.
    unsafe {
        let sums = if add { _mm256_add_ps(sums, _mm256_load_ps(to)) } else { sums };
        _mm256_store_ps(to, sums);
    }
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store_integers(sums: __m256i, to: *mut f32, scale: f32, add: bool) {
    // SAFETY: the preconditions.
    unsafe {
        let (sums, scale) = (_mm256_cvtepi32_ps(sums), _mm256_set1_ps(scale));
        let sums = match add {
            true => _mm256_fmadd_ps(sums, scale, _mm256_load_ps(to)),
            false => _mm256_mul_ps(sums, scale),
        };
        _mm256_store_ps(to, sums);
    }
}

struct F32;

impl Arithmetic for F32 {
    type Sums = __m256;
    type Weights = __m256;
    type Activation = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn begin(_: *const u32) -> __m256 {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_load_ps(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_broadcast_ss(&*word.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m256, activation: __m256, weights: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(activation, weights, sums) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

/// Weights in bf16 are widened to f32, and activations are f32: for CPUs without products of bf16.
struct Widened;

impl Arithmetic for Widened {
    type Sums = __m256;
    type Weights = __m256;
    type Activation = __m256;
    const LANES: usize = 8;
    const WORDS: usize = 2;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m256 {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { F32::begin(words) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, part: usize) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm256_load_si256(words.cast());
            _mm256_castsi256_ps(match part {
                0 => _mm256_slli_epi32::<16>(pairs),
                _ => _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32.cast_signed())),
            })
        }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m256 {
        // SAFETY: as above.
        unsafe { F32::activation(word) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m256, activation: __m256, weights: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { F32::multiply(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

struct Vnni;

impl Arithmetic for Vnni {
    type Sums = __m256i;
    type Weights = __m256i;
    type Activation = __m256i;
    const LANES: usize = 8;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m256i {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { _mm256_load_si256(words.cast()) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_load_si256(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32((*word).cast_signed()) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m256i, activation: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpbusd_avx_epi32(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256i, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store_integers(sums, to, scale, add) }
    }
}

/// Bytes are widened to 16 bits, the even and the odd ones apart: products of pairs of bytes in 16 bits, which
/// this CPU has, overflow.
struct Int8;

impl Arithmetic for Int8 {
    type Sums = __m256i;
    /// Even and odd.
    type Weights = [__m256i; 2];
    type Activation = [__m256i; 2];
    const LANES: usize = 8;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m256i {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { _mm256_load_si256(words.cast()) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm256_load_si256(words.cast());
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm256_set1_epi32((*word).cast_signed());
            [_mm256_and_si256(bytes, _mm256_set1_epi16(0x00ff)), _mm256_srli_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m256i, activation: [__m256i; 2], weights: [__m256i; 2]) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let even = _mm256_madd_epi16(activation[0], weights[0]);
            let odd = _mm256_madd_epi16(activation[1], weights[1]);
            _mm256_add_epi32(sums, _mm256_add_epi32(even, odd))
        }
    }

    #[inline(always)]
    unsafe fn store(sums: __m256i, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store_integers(sums, to, scale, add) }
    }
}
