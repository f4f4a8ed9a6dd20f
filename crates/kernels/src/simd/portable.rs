//! Kernels that the compiler vectorises for what every CPU of the target has. No `unsafe` code.

use super::{Epilogue, Kernel, Place, STRIDE, Sums, check, check_int8, encode_f32, tiles};
use crate::panels::{LINES, Precision};
use crate::simd::Line;

pub(super) fn kernel(precision: Precision) -> Kernel {
    let (tiles, words) = match precision {
        Precision::F32 => (tiles!(f32_tile: 1 2 3 4), 1),
        Precision::Bf16 => (tiles!(bf16_tile: 1 2 3 4), 2),
        Precision::Int8 => (tiles!(int8_tile: 1 2 3 4), 1),
    };
    Kernel { tiles, encode: encode_f32, accumulate, finish, words }
}

fn accumulate(total: &mut Sums, sums: &Sums, scales: &[f32], add: bool) {
    for ((total, sums), scale) in total.0.iter_mut().zip(&sums.0).zip(scales) {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total = if add { mul_add(*sum, *scale, *total) } else { sum * scale };
        }
    }
}

fn finish(sums: &Sums, place: &mut Place<'_, '_>, epilogue: &Epilogue<'_>) {
    epilogue.apply(sums, place);
}

/// One rounding where the target has the instruction, two elsewhere: a call of the C library's `fmaf`
/// would be far slower.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

/// A line (half a step) at a time, so that the sums of four rows are 16 registers of four.
fn f32_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 1);
    let rows: [&[u32]; ROWS] = std::array::from_fn(|row| &activations[row * STRIDE..][..steps]);
    for half in 0..LINES {
        let mut acc = [[0f32; 16]; ROWS];
        for step in 0..steps {
            let weights = weights[step * LINES + half].0.map(f32::from_bits);
            for (acc, row) in acc.iter_mut().zip(rows) {
                let x = f32::from_bits(row[step]);
                for (acc, weight) in acc.iter_mut().zip(weights) {
                    *acc = mul_add(x, weight, *acc);
                }
            }
        }
        for (sums, acc) in sums.0.iter_mut().zip(acc) {
            sums[half * 16..][..16].copy_from_slice(&acc);
        }
    }
}

/// Weights are widened to f32, and activations are f32.
fn bf16_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check(activations, weights, ROWS, 2);
    let rows: [&[u32]; ROWS] = std::array::from_fn(|row| &activations[row * STRIDE..][..2 * steps]);
    for half in 0..LINES {
        let mut acc = [[0f32; 16]; ROWS];
        for step in 0..steps {
            let pairs = weights[step * LINES + half].0;
            let first = pairs.map(|pair| f32::from_bits(pair << 16));
            let second = pairs.map(|pair| f32::from_bits(pair & 0xffff_0000));
            for (acc, row) in acc.iter_mut().zip(rows) {
                let (x, y) = (f32::from_bits(row[2 * step]), f32::from_bits(row[2 * step + 1]));
                for ((acc, first), second) in acc.iter_mut().zip(first).zip(second) {
                    *acc = mul_add(y, second, mul_add(x, first, *acc));
                }
            }
        }
        for (sums, acc) in sums.0.iter_mut().zip(acc) {
            sums[half * 16..][..16].copy_from_slice(&acc);
        }
    }
}

/// Products of bytes, in 32 bits.
fn int8_tile<const ROWS: usize>(activations: &[u32], weights: &[Line], sums: &mut Sums) {
    let steps = check_int8(activations, weights, ROWS);
    let rows: [&[u32]; ROWS] = std::array::from_fn(|row| &activations[row * STRIDE..][..steps]);
    for half in 0..LINES {
        let mut acc = [weights[half].0.map(u32::cast_signed); ROWS];
        for step in 0..steps {
            let words = weights[(step + 1) * LINES + half].0;
            for byte in 0..4 {
                let weights = words.map(|word| (word << (24 - 8 * byte)).cast_signed() >> 24);
                for (acc, row) in acc.iter_mut().zip(rows) {
                    let x = (row[step] >> (8 * byte) & 0xff).cast_signed();
                    acc.iter_mut().zip(weights).for_each(|(acc, weight)| *acc += x * weight);
                }
            }
        }
        for (sums, acc) in sums.0.iter_mut().zip(acc) {
            sums[half * 16..][..16].copy_from_slice(&acc.map(|sum| sum as f32));
        }
    }
}
