//! Kernels for AVX-512: 32 registers of 16 values, of which the sums of 12 rows and a panel are 24.

use std::arch::x86_64::*;

use super::{Epilogue, Kernel, Line, Place, STRIDE, Sums, check, check_int8, tiles};
use crate::panels::{COLUMNS, LINES, Precision};

pub(super) fn kernel(precision: Precision) -> Kernel {
    let (tiles, words) = match precision {
        Precision::F32 => (tiles!(f32_tile: 1 2 3 4 5 6 7 8 9 10 11 12), 1),
        Precision::Bf16 => (tiles!(widened_tile: 1 2 3 4 5 6 7 8 9 10 11 12), 2),
        Precision::Int8 => (tiles!(int8_tile: 1 2 3 4 5 6 7 8 9 10 11 12), 1),
    };
    Kernel { tiles, encode, accumulate, finish, words }
}

/// Products of bf16, summed in f32: twice as many a cycle as of f32.
pub(super) fn kernel_bf16() -> Kernel {
    Kernel { tiles: tiles!(bf16_tile: 1 2 3 4 5 6 7 8 9 10 11 12), encode: encode_bf16, accumulate, finish, words: 1 }
}

/// Products of 8-bit integers, four at a time.
pub(super) fn kernel_vnni() -> Kernel {
    Kernel { tiles: tiles!(vnni_tile: 1 2 3 4 5 6 7 8 9 10 11 12), encode, accumulate, finish, words: 1 }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn encode(values: &[f32], words: &mut [u32]) {
    super::encode_f32(values, words);
}

/// Written out: the compiler, left to itself, goes down the columns with gathers and scatters.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn accumulate(total: &mut Sums, sums: &Sums, scales: &[f32], add: bool) {
    for ((total, sums), scale) in total.0.iter_mut().zip(&sums.0).zip(scales) {
        let scale = _mm512_set1_ps(*scale);
        for half in 0..LINES {
            // SAFETY: a row of sums has two registers.
            unsafe {
                let (total, sums) = (total.as_mut_ptr().add(16 * half), sums.as_ptr().add(16 * half));
                let sums = _mm512_loadu_ps(sums);
                let sums = match add {
                    true => _mm512_fmadd_ps(sums, scale, _mm512_loadu_ps(total)),
                    false => _mm512_mul_ps(sums, scale),
                };
                _mm512_storeu_ps(total, sums);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn finish(sums: &Sums, place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// Lines that weights are asked for ahead of their use, 2 kB: the CPU's own prefetching stops at the end
/// of a page.
const AHEAD: usize = 32;

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn f32_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 1);
    let a = activations.as_ptr().cast::<f32>();
    let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
    for step in 0..steps {
        prefetch(weights, step);
        // SAFETY: `check` found `steps` steps of COLUMNS words in `weights`, and as many words in each of
        // ROWS rows of `activations`.
        unsafe {
            let w = weights.as_ptr().cast::<f32>().add(step * COLUMNS);
            let w = [_mm512_load_ps(w), _mm512_load_ps(w.add(16))];
            for (row, acc) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.add(row * STRIDE + step));
                acc[0] = _mm512_fmadd_ps(x, w[0], acc[0]);
                acc[1] = _mm512_fmadd_ps(x, w[1], acc[1]);
            }
        }
    }
    store(&acc, sums);
}

/// Weights are widened to f32, and activations are f32: for CPUs without products of bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn widened_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 2);
    let a = activations.as_ptr().cast::<f32>();
    let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
    let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
    for step in 0..steps {
        prefetch(weights, step);
        // SAFETY: as in `f32_tile`, with two words of activations a step.
        unsafe {
            let w = weights.as_ptr().cast::<u32>().add(step * COLUMNS).cast::<__m512i>();
            let pairs = [_mm512_load_si512(w), _mm512_load_si512(w.add(1))];
            let first = pairs.map(|pair| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pair)));
            let second = pairs.map(|pair| _mm512_castsi512_ps(_mm512_and_si512(pair, upper)));
            for (row, acc) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.add(row * STRIDE + 2 * step));
                acc[0] = _mm512_fmadd_ps(x, first[0], acc[0]);
                acc[1] = _mm512_fmadd_ps(x, first[1], acc[1]);
            }
            for (row, acc) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.add(row * STRIDE + 2 * step + 1));
                acc[0] = _mm512_fmadd_ps(x, second[0], acc[0]);
                acc[1] = _mm512_fmadd_ps(x, second[1], acc[1]);
            }
        }
    }
    store(&acc, sums);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn bf16_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 1);
    let a = activations.as_ptr().cast::<i32>();
    let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
    for step in 0..steps {
        prefetch(weights, step);
        // SAFETY: as in `f32_tile`; the registers of integers and of bf16 have the same bits.
        unsafe {
            let w = weights.as_ptr().cast::<u32>().add(step * COLUMNS).cast::<__m512i>();
            let w: [__m512bh; 2] = std::mem::transmute([_mm512_load_si512(w), _mm512_load_si512(w.add(1))]);
            for (row, acc) in acc.iter_mut().enumerate() {
                let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(*a.add(row * STRIDE + step)));
                acc[0] = _mm512_dpbf16_ps(acc[0], x, w[0]);
                acc[1] = _mm512_dpbf16_ps(acc[1], x, w[1]);
            }
        }
    }
    store(&acc, sums);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn vnni_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check_int8(activations, weights, ROWS);
    let a = activations.as_ptr().cast::<i32>();
    let mut acc = [begin(weights); ROWS];
    let weights = &weights[LINES..];
    for step in 0..steps {
        prefetch(weights, step);
        // SAFETY: as in `f32_tile`, by `check_int8`.
        unsafe {
            let w = weights.as_ptr().cast::<u32>().add(step * COLUMNS).cast::<__m512i>();
            let w = [_mm512_load_si512(w), _mm512_load_si512(w.add(1))];
            for (row, acc) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(*a.add(row * STRIDE + step));
                acc[0] = _mm512_dpbusd_epi32(acc[0], x, w[0]);
                acc[1] = _mm512_dpbusd_epi32(acc[1], x, w[1]);
            }
        }
    }
    store_integers(&acc, sums);
}

/// Bytes are widened to 16 bits, the even and the odd ones apart: for CPUs without products of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn int8_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check_int8(activations, weights, ROWS);
    let a = activations.as_ptr().cast::<i32>();
    let mut acc = [begin(weights); ROWS];
    let weights = &weights[LINES..];
    let low = _mm512_set1_epi16(0x00ff);
    for step in 0..steps {
        prefetch(weights, step);
        // SAFETY: as in `f32_tile`, by `check_int8`.
        unsafe {
            let w = weights.as_ptr().cast::<u32>().add(step * COLUMNS).cast::<__m512i>();
            let w = [_mm512_load_si512(w), _mm512_load_si512(w.add(1))];
            let even = w.map(|w| _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(w)));
            let odd = w.map(|w| _mm512_srai_epi16::<8>(w));
            for (row, acc) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(*a.add(row * STRIDE + step));
                let (x, y) = (_mm512_and_si512(x, low), _mm512_srli_epi16::<8>(x));
                for ((acc, even), odd) in acc.iter_mut().zip(even).zip(odd) {
                    let products = _mm512_add_epi32(_mm512_madd_epi16(x, even), _mm512_madd_epi16(y, odd));
                    *acc = _mm512_add_epi32(*acc, products);
                }
            }
        }
    }
    store_integers(&acc, sums);
}

/// What the sums of a block of int8 begin with.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn begin(weights: &[Line]) -> [__m512i; 2] {
    // SAFETY: lines are as long as the registers, and aligned.
    [&weights[0], &weights[1]].map(|line| unsafe { _mm512_load_si512(line.0.as_ptr().cast()) })
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

/// Asks for the weights of a later step. An address beyond the end is no error: nothing is read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn prefetch(weights: &[Line], step: usize) {
    let line = weights.as_ptr().wrapping_add(2 * step + AHEAD).cast::<i8>();
    _mm_prefetch::<_MM_HINT_T0>(line);
    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(64));
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store<const ROWS: usize>(acc: &[[__m512; 2]; ROWS], sums: &mut Sums) {
    for (sums, acc) in sums.0.iter_mut().zip(acc) {
        let sums = sums.as_mut_ptr();
        // SAFETY: a row of sums has 32 values.
        unsafe {
            _mm512_storeu_ps(sums, acc[0]);
            _mm512_storeu_ps(sums.add(16), acc[1]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_integers<const ROWS: usize>(acc: &[[__m512i; 2]; ROWS], sums: &mut Sums) {
    for (sums, acc) in sums.0.iter_mut().zip(acc) {
        let sums = sums.as_mut_ptr();
        // SAFETY: as in `store`.
        unsafe {
            _mm512_storeu_ps(sums, _mm512_cvtepi32_ps(acc[0]));
            _mm512_storeu_ps(sums.add(16), _mm512_cvtepi32_ps(acc[1]));
        }
    }
}
