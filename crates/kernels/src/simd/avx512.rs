//! Kernels for AVX-512: 32 registers of 16 values, of which the sums of 12 rows and a panel are 24.

use std::arch::x86_64::*;

use super::tile::{Arithmetic, tiles};
use super::{Encode, Epilogue, Kernel, Place};
use crate::panels::Precision;

/// The kernel of an arithmetic. Few rows go with several panels: one panel has too few sums to hide the latency
/// of a product.
macro_rules! kernel {
    ($features:literal, $arithmetic:ty, $encode:expr) => {
        Kernel {
            tiles: tiles!(#[target_feature(enable = $features)] $arithmetic:
                1(1, 2) 2(1, 2) 3(1, 2) 4(1, 2) 5(1, 2) 6(1, 2) 7(1, 2) 8(1, 2) 9(1, 2) 10(1, 2) 11(1, 2) 12(1, 2)),
            wide: tiles!(#[target_feature(enable = $features)] $arithmetic: 1(4, 8) 2(4, 8) 3(2, 4) 4(2, 4)),
            encode: $encode,
            finish,
            words: <$arithmetic as Arithmetic>::WORDS,
        }
    };
}

pub(super) fn kernel(precision: Precision) -> Kernel {
    let encode: Encode = encode;
    match precision {
        Precision::F32 => kernel!("avx512f,avx512bw,avx512vl", F32, encode),
        Precision::Bf16 => kernel!("avx512f,avx512bw,avx512vl", Widened, encode),
        Precision::Int8 => kernel!("avx512f,avx512bw,avx512vl", Int8, encode),
    }
}

/// Products of bf16, summed in f32: twice as many a cycle as of f32.
pub(super) fn kernel_bf16() -> Kernel {
    kernel!("avx512f,avx512bw,avx512vl,avx512bf16", Bf16, encode_bf16)
}

/// Products of 8-bit integers, four at a time.
pub(super) fn kernel_vnni() -> Kernel {
    kernel!("avx512f,avx512bw,avx512vl,avx512vnni", Vnni, encode)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn encode(values: &[f32], words: &mut [u32]) {
    super::encode_f32(values, words);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn finish(sums: &[[f32; 32]], place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store(sums: __m512, to: *mut f32, add: bool) {
    // SAFETY: the preconditions.
    unsafe {
        let sums = if add { _mm512_add_ps(sums, _mm512_load_ps(to)) } else { sums };
        _mm512_store_ps(to, sums);
    }
}

/// # Safety
/// As [`Arithmetic::store`].
#[inline(always)]
unsafe fn store_integers(sums: __m512i, to: *mut f32, scale: f32, add: bool) {
    // SAFETY: the preconditions.
    unsafe {
        let (sums, scale) = (_mm512_cvtepi32_ps(sums), _mm512_set1_ps(scale));
        let sums = match add {
            true => _mm512_fmadd_ps(sums, scale, _mm512_load_ps(to)),
            false => _mm512_mul_ps(sums, scale),
        };
        _mm512_store_ps(to, sums);
    }
}

struct F32;

impl Arithmetic for F32 {
    type Sums = __m512;
    type Weights = __m512;
    type Activation = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn begin(_: *const u32) -> __m512 {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_load_ps(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(*word.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m512, activation: __m512, weights: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(activation, weights, sums) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

/// Weights in bf16 are widened to f32, and activations are f32: for CPUs without products of bf16.
struct Widened;

impl Arithmetic for Widened {
    type Sums = __m512;
    type Weights = __m512;
    type Activation = __m512;
    const LANES: usize = 16;
    const WORDS: usize = 2;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m512 {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { F32::begin(words) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, part: usize) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm512_load_si512(words.cast());
            _mm512_castsi512_ps(match part {
                0 => _mm512_slli_epi32::<16>(pairs),
                _ => _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed())),
            })
        }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m512 {
        // SAFETY: as above.
        unsafe { F32::activation(word) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m512, activation: __m512, weights: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { F32::multiply(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

struct Bf16;

impl Arithmetic for Bf16 {
    type Sums = __m512;
    type Weights = __m512bh;
    type Activation = __m512bh;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m512 {
        // SAFETY: the preconditions of the trait, here and in all methods below. Registers of integers and of
        // bf16 have the same bits.
        unsafe { F32::begin(words) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> __m512bh {
        // SAFETY: as above.
        unsafe { std::mem::transmute(_mm512_load_si512(words.cast())) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m512bh {
        // SAFETY: as above.
        unsafe { std::mem::transmute(_mm512_set1_epi32((*word).cast_signed())) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m512, activation: __m512bh, weights: __m512bh) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_dpbf16_ps(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512, to: *mut f32, _: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store(sums, to, add) }
    }
}

struct Vnni;

impl Arithmetic for Vnni {
    type Sums = __m512i;
    type Weights = __m512i;
    type Activation = __m512i;
    const LANES: usize = 16;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m512i {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { _mm512_load_si512(words.cast()) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_load_si512(words.cast()) }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32((*word).cast_signed()) }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m512i, activation: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, activation, weights) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store_integers(sums, to, scale, add) }
    }
}

/// Bytes are widened to 16 bits, the even and the odd ones apart: for CPUs without products of bytes.
struct Int8;

impl Arithmetic for Int8 {
    type Sums = __m512i;
    /// Even and odd.
    type Weights = [__m512i; 2];
    type Activation = [__m512i; 2];
    const LANES: usize = 16;
    const BLOCKS: bool = true;

    #[inline(always)]
    unsafe fn begin(words: *const u32) -> __m512i {
        // SAFETY: the preconditions of the trait, here and in all methods below.
        unsafe { _mm512_load_si512(words.cast()) }
    }

    #[inline(always)]
    unsafe fn weights(words: *const u32, _: usize) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm512_load_si512(words.cast());
            [_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(bytes)), _mm512_srai_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    unsafe fn activation(word: *const u32) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm512_set1_epi32((*word).cast_signed());
            [_mm512_and_si512(bytes, _mm512_set1_epi16(0x00ff)), _mm512_srli_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    unsafe fn multiply(sums: __m512i, activation: [__m512i; 2], weights: [__m512i; 2]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let even = _mm512_madd_epi16(activation[0], weights[0]);
            let odd = _mm512_madd_epi16(activation[1], weights[1]);
            _mm512_add_epi32(sums, _mm512_add_epi32(even, odd))
        }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, to: *mut f32, scale: f32, add: bool) {
        // SAFETY: as above.
        unsafe { store_integers(sums, to, scale, add) }
    }
}

/// Rounds activations to pairs of bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn encode_bf16(values: &[f32], words: &mut [u32]) {
    assert!(values.len() <= 2 * words.len(), "no room for the activations");
    let halves = 2 * words.len();
    for at in (0..halves).step_by(16) {
        let mask = |len: usize| (1u32 << len.saturating_sub(at).min(16)).wrapping_sub(1) as u16;
        // SAFETY: the masks leave out what lies beyond the ends of `values` and of `words`; the two
        // register types have the same bits.
        unsafe {
            let wide = _mm512_maskz_loadu_ps(mask(values.len()), values.as_ptr().wrapping_add(at));
            let half: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(wide));
            _mm256_mask_storeu_epi16(words.as_mut_ptr().cast::<i16>().wrapping_add(at), mask(halves), half);
        }
    }
}
