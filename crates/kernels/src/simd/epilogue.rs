//! What happens to sums on their way from registers to the output. No `unsafe` code.

use crate::linear::Activation;
use crate::math;
use crate::panels::COLUMNS;

/// What is made of the sums of a panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    /// Factors of the columns, before all else.
    pub(crate) scales: Option<&'a [f32; COLUMNS]>,
    pub(crate) bias: Option<&'a [f32; COLUMNS]>,
    pub(crate) function: Function,
    /// Whether results are added to the output.
    pub(crate) add: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    /// One result for each column.
    Of(Activation),
    /// silu(columns 0..16) · columns 16..32.
    Gated,
}

impl Epilogue<'_> {
    /// Compiled again for each kernel.
    #[inline(always)]
    pub(super) fn apply(&self, sums: &[f32; COLUMNS], out: &mut [f32]) {
        let mut values = *sums;
        if let Some(scales) = self.scales {
            values.iter_mut().zip(scales).for_each(|(value, scale)| *value *= scale);
        }
        if let Some(bias) = self.bias {
            values.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
        match self.function {
            Function::Gated => {
                let (gates, others) = values.split_at(COLUMNS / 2);
                let mut results = [0f32; COLUMNS / 2];
                for ((result, gate), other) in results.iter_mut().zip(gates).zip(others) {
                    *result = math::silu(*gate) * other;
                }
                return write(&results, out, self.add);
            }
            Function::Of(Activation::Identity) => {}
            Function::Of(Activation::Gelu) => each(&mut values, math::gelu),
            Function::Of(Activation::GeluTanh) => each(&mut values, math::gelu_tanh),
            Function::Of(Activation::Relu) => each(&mut values, |x| x.max(0.0)),
            Function::Of(Activation::Silu) => each(&mut values, math::silu),
            Function::Of(Activation::Tanh) => each(&mut values, math::tanh),
            Function::Of(Activation::Sigmoid) => each(&mut values, math::sigmoid),
        }
        write(&values, out, self.add);
    }
}

#[inline(always)]
fn each(values: &mut [f32; COLUMNS], f: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|value| *value = f(*value));
}

#[inline(always)]
fn write<const N: usize>(values: &[f32; N], out: &mut [f32], add: bool) {
    match (<&mut [f32; N]>::try_from(&mut *out), add) {
        // A whole panel: the compiler sees the length.
        (Ok(out), true) => out.iter_mut().zip(values).for_each(|(out, value)| *out += value),
        (Ok(out), false) => *out = *values,
        (Err(_), true) => out.iter_mut().zip(values).for_each(|(out, value)| *out += value),
        (Err(_), false) => out.iter_mut().zip(values).for_each(|(out, value)| *out = *value),
    }
}
