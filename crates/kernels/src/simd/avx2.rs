//! Kernels for AVX2 and FMA: 16 registers of 8 values.

use std::arch::x86_64::*;

use super::{Epilogue, Kernel, Line, Place, STRIDE, Sums, check, check_int8, tiles};
use crate::panels::{COLUMNS, LINES, Precision};

pub(super) fn kernel(precision: Precision) -> Kernel {
    let (tiles, words) = match precision {
        Precision::F32 => (tiles!(f32_tile: 1 2 3 4 5 6), 1),
        Precision::Bf16 => (tiles!(bf16_tile: 1 2 3 4 5 6), 2),
        Precision::Int8 => (tiles!(int8_tile: 1 2 3 4), 1),
    };
    Kernel { tiles, encode, accumulate, finish, words }
}

/// Products of 8-bit integers, four at a time.
pub(super) fn kernel_vnni() -> Kernel {
    Kernel { tiles: tiles!(vnni_tile: 1 2 3 4 5 6), encode, accumulate, finish, words: 1 }
}

#[target_feature(enable = "avx2,fma")]
fn encode(values: &[f32], words: &mut [u32]) {
    super::encode_f32(values, words);
}

/// Written out, as that for AVX-512.
#[target_feature(enable = "avx2,fma")]
fn accumulate(total: &mut Sums, sums: &Sums, scales: &[f32], add: bool) {
    for ((total, sums), scale) in total.0.iter_mut().zip(&sums.0).zip(scales) {
        let scale = _mm256_set1_ps(*scale);
        for part in 0..COLUMNS / 8 {
            // SAFETY: a row of sums has four registers.
            unsafe {
                let (total, sums) = (total.as_mut_ptr().add(8 * part), sums.as_ptr().add(8 * part));
                let sums = _mm256_loadu_ps(sums);
                let sums = match add {
                    true => _mm256_fmadd_ps(sums, scale, _mm256_loadu_ps(total)),
                    false => _mm256_mul_ps(sums, scale),
                };
                _mm256_storeu_ps(total, sums);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn finish(sums: &Sums, place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// Half a panel at a time: the sums of six rows are 12 registers.
#[target_feature(enable = "avx2,fma")]
fn f32_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 1);
    let a = activations.as_ptr().cast::<f32>();
    let w = weights.as_ptr().cast::<f32>();
    for half in 0..LINES {
        let mut acc = [[_mm256_setzero_ps(); 2]; ROWS];
        for step in 0..steps {
            // SAFETY: `check` found `steps` steps of COLUMNS words in `weights`, and as many words in each
            // of ROWS rows of `activations`.
            unsafe {
                let w = w.add(step * COLUMNS + half * 16);
                let w = [_mm256_load_ps(w), _mm256_load_ps(w.add(8))];
                for (row, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a.add(row * STRIDE + step));
                    acc[0] = _mm256_fmadd_ps(x, w[0], acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, w[1], acc[1]);
                }
            }
        }
        store(&acc, half, sums);
    }
}

/// Weights are widened to f32, and activations are f32.
#[target_feature(enable = "avx2,fma")]
fn bf16_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 2);
    let a = activations.as_ptr().cast::<f32>();
    let w = weights.as_ptr().cast::<u32>();
    let upper = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
    for half in 0..LINES {
        let mut acc = [[_mm256_setzero_ps(); 2]; ROWS];
        for step in 0..steps {
            // SAFETY: as in `f32_tile`, with two words of activations a step.
            unsafe {
                let w = w.add(step * COLUMNS + half * 16).cast::<__m256i>();
                let pairs = [_mm256_load_si256(w), _mm256_load_si256(w.add(1))];
                let first = pairs.map(|pair| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pair)));
                for (row, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a.add(row * STRIDE + 2 * step));
                    acc[0] = _mm256_fmadd_ps(x, first[0], acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, first[1], acc[1]);
                }
                let second = pairs.map(|pair| _mm256_castsi256_ps(_mm256_and_si256(pair, upper)));
                for (row, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a.add(row * STRIDE + 2 * step + 1));
                    acc[0] = _mm256_fmadd_ps(x, second[0], acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, second[1], acc[1]);
                }
            }
        }
        store(&acc, half, sums);
    }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
fn vnni_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check_int8(activations, weights, ROWS);
    let a = activations.as_ptr().cast::<i32>();
    let w = weights[LINES..].as_ptr().cast::<u32>();
    for half in 0..LINES {
        let mut acc = [begin(weights, half); ROWS];
        for step in 0..steps {
            // SAFETY: as in `f32_tile`, by `check_int8`.
            unsafe {
                let w = w.add(step * COLUMNS + half * 16).cast::<__m256i>();
                let w = [_mm256_load_si256(w), _mm256_load_si256(w.add(1))];
                for (row, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_set1_epi32(*a.add(row * STRIDE + step));
                    acc[0] = _mm256_dpbusd_avx_epi32(acc[0], x, w[0]);
                    acc[1] = _mm256_dpbusd_avx_epi32(acc[1], x, w[1]);
                }
            }
        }
        store_integers(&acc, half, sums);
    }
}

/// Bytes are widened to 16 bits, the even and the odd ones apart: products of pairs of bytes in 16 bits, which
/// this CPU has, overflow.
#[target_feature(enable = "avx2,fma")]
fn int8_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check_int8(activations, weights, ROWS);
    let a = activations.as_ptr().cast::<i32>();
    let w = weights[LINES..].as_ptr().cast::<u32>();
    let low = _mm256_set1_epi16(0x00ff);
    for half in 0..LINES {
        let mut acc = [begin(weights, half); ROWS];
        for step in 0..steps {
            // SAFETY: as in `f32_tile`, by `check_int8`.
            unsafe {
                let w = w.add(step * COLUMNS + half * 16).cast::<__m256i>();
                let w = [_mm256_load_si256(w), _mm256_load_si256(w.add(1))];
                let even = w.map(|w| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)));
                let odd = w.map(|w| _mm256_srai_epi16::<8>(w));
                for (row, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_set1_epi32(*a.add(row * STRIDE + step));
                    let (x, y) = (_mm256_and_si256(x, low), _mm256_srli_epi16::<8>(x));
                    for ((acc, even), odd) in acc.iter_mut().zip(even).zip(odd) {
                        let products = _mm256_add_epi32(_mm256_madd_epi16(x, even), _mm256_madd_epi16(y, odd));
                        *acc = _mm256_add_epi32(*acc, products);
                    }
                }
            }
        }
        store_integers(&acc, half, sums);
    }
}

/// What the sums of a block of int8 begin with.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn begin(weights: &[Line], half: usize) -> [__m256i; 2] {
    let words = &weights[half].0;
    // SAFETY: half a line is as long as a register, and aligned.
    [&words[..8], &words[8..]].map(|words| unsafe { _mm256_load_si256(words.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store<const ROWS: usize>(acc: &[[__m256; 2]; ROWS], half: usize, sums: &mut Sums) {
    for (sums, acc) in sums.0.iter_mut().zip(acc) {
        let sums = sums[half * 16..][..16].as_mut_ptr();
        // SAFETY: the slice above has 16 values.
        unsafe {
            _mm256_storeu_ps(sums, acc[0]);
            _mm256_storeu_ps(sums.add(8), acc[1]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_integers<const ROWS: usize>(acc: &[[__m256i; 2]; ROWS], half: usize, sums: &mut Sums) {
    for (sums, acc) in sums.0.iter_mut().zip(acc) {
        let sums = sums[half * 16..][..16].as_mut_ptr();
        // SAFETY: as in `store`.
        unsafe {
            _mm256_storeu_ps(sums, _mm256_cvtepi32_ps(acc[0]));
            _mm256_storeu_ps(sums.add(8), _mm256_cvtepi32_ps(acc[1]));
        }
    }
}
