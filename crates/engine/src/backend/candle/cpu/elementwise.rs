//! Norms, rotary positions and activations: one pass each, rows shared among threads.
//!
//! The loops are plain; `pulp` compiles them once for each level of SIMD and takes the best at run time.

use pulp::Arch;
use rayon::prelude::*;

use super::math;
use crate::backend::candle::parts::RotaryTable;
use crate::model::Activation;

/// Rows are shared out in blocks of about this many values: enough work to be worth a task.
const BLOCK: usize = 1 << 15;

/// Runs `f` on blocks of whole rows.
fn for_blocks(data: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let rows = (BLOCK / width).max(1);
    if data.len() <= rows * width {
        Arch::new().dispatch(|| f(0, data));
    } else {
        data.par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(block, data)| Arch::new().dispatch(|| f(block * rows, data)));
    }
}

/// A sum that the compiler can vectorise, in an order that does not depend on the machine.
#[inline(always)]
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; 32];
    let (chunks, rest) = values.as_chunks::<32>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += f(*value);
    }
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// `x += y`
pub(super) fn add(x: &mut [f32], y: &[f32], width: usize) {
    for_blocks(
        x,
        width,
        #[inline(always)]
        |row, x| {
            for (x, y) in x.iter_mut().zip(&y[row * width..]) {
                *x += y;
            }
        },
    );
}

/// `out = x / sqrt(mean(x²) + eps) · weight` for each row.
pub(super) fn rms_norm(x: &[f32], out: &mut [f32], weight: &[f32], eps: f64) {
    let width = weight.len();
    for_blocks(
        out,
        width,
        #[inline(always)]
        |row, out| {
            for (out, x) in out.chunks_exact_mut(width).zip(x[row * width..].chunks_exact(width)) {
                let mean = sum(x, |x| x * x) / width as f32;
                let scale = 1.0 / (mean + eps as f32).sqrt();
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    *out = x * scale * weight;
                }
            }
        },
    );
}

/// `(x − mean) / sqrt(variance + eps) · weight + bias` for each row.
pub(super) fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f64) {
    let width = weight.len();
    for_blocks(
        x,
        width,
        #[inline(always)]
        |_, x| {
            for x in x.chunks_exact_mut(width) {
                let mean = sum(x, |x| x) / width as f32;
                let variance = sum(x, |x| (x - mean) * (x - mean)) / width as f32;
                let scale = 1.0 / (variance + eps as f32).sqrt();
                for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
                    *x = (*x - mean) * scale * weight + bias;
                }
            }
        },
    );
}

/// What happens to the heads of q and k before they meet.
pub(super) struct HeadPrepare<'a> {
    /// Width of a head.
    pub(super) head_dim: usize,
    /// Query heads, at the start of each row.
    pub(super) heads: usize,
    /// Key heads, after the query heads.
    pub(super) kv_heads: usize,
    /// RMS norm weights of query and key heads.
    pub(super) norms: [Option<&'a [f32]>; 2],
    /// Epsilon of these norms.
    pub(super) eps: f64,
    /// Rotary positions, if the model has them.
    pub(super) rotary: Option<&'a RotaryTable>,
}

/// Norms and rotates the heads of q and k in rows of `[q | k | v]`; `positions[row]` is the position of
/// a row within its sequence.
pub(super) fn prepare_heads(qkv: &mut [f32], width: usize, positions: &[u32], how: &HeadPrepare<'_>) {
    if how.rotary.is_none() && how.norms.iter().all(Option::is_none) {
        return;
    }
    let (dim, half) = (how.head_dim, how.head_dim / 2);
    for_blocks(
        qkv,
        width,
        #[inline(always)]
        |row, qkv| {
            for (index, qkv) in qkv.chunks_exact_mut(width).enumerate() {
                let position = positions[row + index] as usize;
                for (head, x) in qkv.chunks_exact_mut(dim).take(how.heads + how.kv_heads).enumerate() {
                    if let Some(weight) = how.norms[usize::from(head >= how.heads)] {
                        let scale = 1.0 / (sum(x, |x| x * x) / dim as f32 + how.eps as f32).sqrt();
                        for (x, weight) in x.iter_mut().zip(weight) {
                            *x = *x * scale * weight;
                        }
                    }
                    if let Some(table) = how.rotary {
                        let cos = &table.cos[position * half..][..half];
                        let sin = &table.sin[position * half..][..half];
                        let (first, second) = x.split_at_mut(half);
                        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                        }
                    }
                }
            }
        },
    );
}

/// `out = silu(gate) · up` for rows of `[gate | up]`.
pub(super) fn swiglu(gate_up: &[f32], out: &mut [f32], inner: usize) {
    for_blocks(
        out,
        inner,
        #[inline(always)]
        |row, out| {
            for (out, gate_up) in out.chunks_exact_mut(inner).zip(gate_up[row * 2 * inner..].chunks_exact(2 * inner)) {
                let (gate, up) = gate_up.split_at(inner);
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    *out = math::silu(*gate) * up;
                }
            }
        },
    );
}

/// Applies `activation` to every value.
pub(super) fn activate(x: &mut [f32], width: usize, activation: Activation) {
    macro_rules! each {
        ($f:expr) => {
            for_blocks(
                x,
                width,
                #[inline(always)]
                |_, x| {
                    for x in x.iter_mut() {
                        *x = $f(*x);
                    }
                },
            )
        };
    }
    match activation {
        Activation::Identity => {}
        Activation::Gelu => each!(math::gelu),
        Activation::GeluTanh => each!(math::gelu_tanh),
        Activation::Relu => each!(|x: f32| x.max(0.0)),
        Activation::Silu => each!(math::silu),
        Activation::Tanh => each!(math::tanh),
        Activation::Sigmoid => each!(math::sigmoid),
    }
}
