//! Linear layers: weights `[out, in]` in f32, bf16 or f16, arithmetic in f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::matmul::{Threads, View, ViewMut, matmul};
use super::zeroed;
use crate::backend::weights::Weight;
use crate::error::Result;

/// Precision in which weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 4 bytes a weight.
    F32,
    /// 2 bytes, 8 bits of mantissa.
    Bf16,
    /// 2 bytes, 11 bits of mantissa, up to 65504.
    F16,
}

enum Values {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

/// A linear layer.
pub struct Linear {
    values: Values,
    bias: Option<Vec<f32>>,
    outputs: usize,
    inputs: usize,
}

/// Half-precision weights are widened this many outputs at a time: the block stays in the cache, and
/// for batches of hundreds of rows the widening is a small part of the work.
const WIDEN: usize = 256;

impl Linear {
    /// Loads and stacks `weights` along the output.
    pub(super) fn load(weights: &[Weight], biases: &[Weight], storage: Storage) -> Result<Self> {
        let inputs = weights.first().and_then(|weight| weight.shape().get(1)).copied().unwrap_or(0);
        let outputs = weights.iter().filter_map(|weight| weight.shape().first()).sum();
        let values = match storage {
            Storage::F32 => Values::F32(stack(weights, outputs * inputs, Weight::append_f32)?),
            Storage::Bf16 => Values::Bf16(stack(weights, outputs * inputs, Weight::append_bf16)?),
            Storage::F16 => Values::F16(stack(weights, outputs * inputs, Weight::append_f16)?),
        };
        let bias = match biases {
            [] => None,
            biases => Some(stack(biases, outputs, Weight::append_f32)?),
        };
        Ok(Linear { values, bias, outputs, inputs })
    }

    /// Width of the output.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Width of the input.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let size = if matches!(self.values, Values::F32(_)) { 4 } else { 2 };
        self.outputs * self.inputs * size + self.bias.as_ref().map_or(0, |bias| bias.len() * 4)
    }

    /// `out = x · wᵀ + bias`, or `out += …`; `x` has `inputs` columns, `out` has `outputs`.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32], accumulate: bool) -> Result<()> {
        let rows = x.len() / self.inputs;
        assert!(x.len() == rows * self.inputs && out.len() == rows * self.outputs, "shapes do not fit");
        if let Some(bias) = &self.bias {
            out.par_chunks_mut(self.outputs).with_min_len(16).for_each(|out| {
                if accumulate {
                    out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
                } else {
                    out.copy_from_slice(bias);
                }
            });
        }
        let accumulate = accumulate || self.bias.is_some();
        let x = View::new(x, rows, self.inputs, self.inputs);
        match &self.values {
            Values::F32(values) => {
                let weight = View::new(values, self.outputs, self.inputs, self.inputs);
                let out = ViewMut::new(out, rows, self.outputs, self.outputs);
                matmul(out, x, weight.transposed(), accumulate, Threads::Pool);
                Ok(())
            }
            Values::Bf16(values) => self.widened(x, rows, out, accumulate, |from, wide| {
                values[from..from + wide.len()].convert_to_f32_slice(wide)
            }),
            Values::F16(values) => self.widened(x, rows, out, accumulate, |from, wide| {
                values[from..from + wide.len()].convert_to_f32_slice(wide)
            }),
        }
    }

    fn widened(
        &self,
        x: View<'_>,
        rows: usize,
        out: &mut [f32],
        accumulate: bool,
        widen: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<()> {
        let mut wide = zeroed(WIDEN.min(self.outputs) * self.inputs)?;
        for first in (0..self.outputs).step_by(WIDEN) {
            let count = WIDEN.min(self.outputs - first);
            let wide = &mut wide[..count * self.inputs];
            wide.par_chunks_mut(self.inputs)
                .with_min_len(8)
                .enumerate()
                .for_each(|(row, wide)| widen((first + row) * self.inputs, wide));
            let weight = View::new(wide, count, self.inputs, self.inputs);
            let out = ViewMut::new(&mut out[first..], rows, count, self.outputs);
            matmul(out, x, weight.transposed(), accumulate, Threads::Pool);
        }
        Ok(())
    }
}

fn stack<T>(weights: &[Weight], len: usize, append: impl Fn(&Weight, &mut Vec<T>) -> Result<()>) -> Result<Vec<T>> {
    let mut out = Vec::new();
    // Reserved at once: growing would hold the layer twice.
    out.try_reserve_exact(len).map_err(|_| {
        crate::Error::new(crate::Code::OutOfMemory, format!("No memory for {len} weights.")).with("weights", len)
    })?;
    for weight in weights {
        append(weight, &mut out)?;
    }
    Ok(out)
}
