//! Linear layers: weights `[out, in]` in f32 or bf16, packed for our own kernels, or in f16.

use embedding_engine_kernels::{Activation as KernelActivation, Linear as Packed, Output, Precision};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::buffers::Buffers;
use super::matmul::{View, ViewMut, matmul};
use crate::backend::weights::Weight;
use crate::error::{Code, Error, Result};
use crate::model::Activation;

/// Precision in which weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 4 bytes a weight.
    F32,
    /// 2 bytes, 8 bits of mantissa. Where the CPU multiplies bf16, what linear layers read is rounded to it
    /// as well.
    Bf16,
    /// 2 bytes, 11 bits of mantissa, up to 65504. Multiplied in f32.
    F16,
    /// 1 byte, with a scale for each output; what linear layers read is rounded to 8 bits as well, with a scale
    /// for each token and each 256 values of it.
    Int8,
}

/// A linear layer.
pub struct Linear(pub(super) Layer);

pub(super) enum Layer {
    Packed(Packed),
    F16(F16),
}

impl Linear {
    /// Loads and stacks `weights` along the output.
    pub(super) fn load(weights: &[Weight], biases: &[Weight], storage: Storage) -> Result<Self> {
        let inputs = weights.first().and_then(|weight| weight.shape().get(1)).copied().unwrap_or(0);
        let outputs = weights.iter().filter_map(|weight| weight.shape().first()).sum();
        let bias = match biases {
            [] => None,
            biases => Some(stack(biases, outputs, Weight::append_f32)?),
        };
        Ok(Linear(match storage.packed() {
            Some(precision) => {
                let layer = Packed::zeros(outputs, inputs, precision).map_err(|_| no_memory(outputs * inputs))?;
                let layer = fill(layer, weights)?;
                Layer::Packed(match bias {
                    Some(bias) => layer.with_bias(bias),
                    None => layer,
                })
            }
            None => {
                let values = stack(weights, outputs * inputs, Weight::append_f16)?;
                Layer::F16(F16 { values, bias, outputs, inputs })
            }
        }))
    }

    /// Loads the gate of an MLP and what it gates, as one layer.
    pub(super) fn load_gated(gate: &Weight, up: &Weight, storage: Storage) -> Result<Self> {
        let weights = [gate.clone(), up.clone()];
        let Some(precision) = storage.packed() else { return Self::load(&weights, &[], storage) };
        let [outputs, inputs] = *gate.shape() else { return Err(gate.broken("is no matrix")) };
        let layer = Packed::gated(outputs, inputs, precision).map_err(|_| no_memory(2 * outputs * inputs))?;
        Ok(Linear(Layer::Packed(fill(layer, &weights)?)))
    }

    /// Width of the output.
    pub(super) fn outputs(&self) -> usize {
        match &self.0 {
            Layer::Packed(layer) => layer.outputs(),
            Layer::F16(layer) => layer.outputs,
        }
    }

    /// Width of the input.
    pub(super) fn inputs(&self) -> usize {
        match &self.0 {
            Layer::Packed(layer) => layer.inputs(),
            Layer::F16(layer) => layer.inputs,
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        match &self.0 {
            Layer::Packed(layer) => layer.bytes(),
            Layer::F16(layer) => layer.values.len() * 2 + layer.bias.as_ref().map_or(0, |bias| bias.len() * 4),
        }
    }

    /// `out = x · wᵀ + bias`, or `out += …`; `x` has `inputs` columns, `out` has `outputs`.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32], accumulate: bool) -> Result<()> {
        let rows = x.len() / self.inputs();
        match &self.0 {
            Layer::Packed(layer) => {
                layer.forward(x, rows, out, if accumulate { Output::Add } else { Output::Replace });
                Ok(())
            }
            Layer::F16(layer) => layer.forward(x, rows, out, accumulate),
        }
    }

    /// Width of what comes out of the gates of a layer that was loaded as gated.
    pub(super) fn gated_outputs(&self) -> usize {
        match &self.0 {
            Layer::Packed(layer) => layer.outputs(),
            Layer::F16(layer) => layer.outputs / 2,
        }
    }
}

impl Storage {
    /// How the kernels hold it, if they do.
    fn packed(self) -> Option<Precision> {
        match self {
            Storage::F32 => Some(Precision::F32),
            Storage::Bf16 => Some(Precision::Bf16),
            Storage::Int8 => Some(Precision::Int8),
            Storage::F16 => None,
        }
    }
}

pub(super) fn kernel_activation(activation: Activation) -> KernelActivation {
    match activation {
        Activation::Identity => KernelActivation::Identity,
        Activation::Gelu => KernelActivation::Gelu,
        Activation::GeluTanh => KernelActivation::GeluTanh,
        Activation::Relu => KernelActivation::Relu,
        Activation::Silu => KernelActivation::Silu,
        Activation::Tanh => KernelActivation::Tanh,
        Activation::Sigmoid => KernelActivation::Sigmoid,
    }
}

/// Reads `weights` row by row into the packed layout: they are never held twice.
fn fill(mut layer: Packed, weights: &[Weight]) -> Result<Packed> {
    let inputs = layer.inputs();
    layer.fill(|output, row| {
        let mut at = output;
        for weight in weights {
            let rows = weight.shape().first().copied().unwrap_or(0);
            if at < rows {
                return weight.read_finite(at * inputs, row);
            }
            at -= rows;
        }
        Err(Error::internal(format!("the weights have no row {output}")))
    })?;
    weights.iter().for_each(Weight::forget);
    Ok(layer)
}

/// A layer in f16, which is widened block by block and multiplied in f32.
pub(super) struct F16 {
    values: Vec<f16>,
    bias: Option<Vec<f32>>,
    outputs: usize,
    inputs: usize,
}

/// Weights are widened this many outputs at a time: the block stays in the cache, and for batches of
/// hundreds of rows the widening is a small part of the work.
const WIDEN: usize = 256;

impl F16 {
    fn forward(&self, x: &[f32], rows: usize, out: &mut [f32], accumulate: bool) -> Result<()> {
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
        let mut wide = Buffers::default().take(WIDEN.min(self.outputs) * self.inputs)?;
        for first in (0..self.outputs).step_by(WIDEN) {
            let count = WIDEN.min(self.outputs - first);
            let wide = &mut wide[..count * self.inputs];
            wide.par_chunks_mut(self.inputs).with_min_len(8).enumerate().for_each(|(row, wide)| {
                let from = (first + row) * self.inputs;
                self.values[from..from + wide.len()].convert_to_f32_slice(wide);
            });
            let weight = View::new(wide, count, self.inputs, self.inputs);
            let out = ViewMut::new(&mut out[first..], rows, count, self.outputs);
            matmul(out, x, weight.transposed(), accumulate);
        }
        Ok(())
    }
}

fn stack<T>(weights: &[Weight], len: usize, append: impl Fn(&Weight, &mut Vec<T>) -> Result<()>) -> Result<Vec<T>> {
    let mut out = Vec::new();
    // Reserved at once: growing would hold the layer twice.
    out.try_reserve_exact(len).map_err(|_| no_memory(len))?;
    for weight in weights {
        append(weight, &mut out)?;
    }
    Ok(out)
}

fn no_memory(weights: usize) -> Error {
    Error::new(Code::OutOfMemory, format!("No memory for {weights} weights.")).with("weights", weights)
}
