//! What happens to sums on their way from registers to the output. No `unsafe` code.

use super::Place;
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
    /// [`super::Finish`], compiled again for each kernel.
    #[inline(always)]
    pub(super) fn apply(&self, sums: &[[f32; COLUMNS]], place: &mut Place<'_, '_>) {
        match self.function {
            Function::Gated => self.rows(
                sums,
                place,
                #[inline(always)]
                |values, out| {
                    let (gates, others) = values.split_at(COLUMNS / 2);
                    let mut results = [0f32; COLUMNS / 2];
                    for ((result, gate), other) in results.iter_mut().zip(gates).zip(others) {
                        *result = math::silu(*gate) * other;
                    }
                    write(&results, out, self.add);
                },
            ),
            Function::Of(Activation::Identity) => self.each(sums, place, |x| x),
            Function::Of(Activation::Gelu) => self.each(sums, place, math::gelu),
            Function::Of(Activation::GeluTanh) => self.each(sums, place, math::gelu_tanh),
            Function::Of(Activation::Relu) => self.each(sums, place, |x| x.max(0.0)),
            Function::Of(Activation::Silu) => self.each(sums, place, math::silu),
            Function::Of(Activation::Tanh) => self.each(sums, place, math::tanh),
            Function::Of(Activation::Sigmoid) => self.each(sums, place, math::sigmoid),
        }
    }

    #[inline(always)]
    fn each(&self, sums: &[[f32; COLUMNS]], place: &mut Place<'_, '_>, f: impl Fn(f32) -> f32) {
        self.rows(
            sums,
            place,
            #[inline(always)]
            |mut values, out| {
                // Not `map` of the array: it is a call, compiled for other instructions than these, and what it
                // stores in small pieces is waited for when it is loaded as a whole.
                for value in &mut values {
                    *value = f(*value);
                }
                write(&values, out, self.add);
            },
        );
    }

    /// Hands each row on, multiplied and with its bias.
    #[inline(always)]
    fn rows(&self, sums: &[[f32; COLUMNS]], place: &mut Place<'_, '_>, f: impl Fn([f32; COLUMNS], &mut [f32])) {
        for (sums, row) in sums.iter().zip(place.rows.clone()) {
            let mut values = *sums;
            if let Some(scales) = self.scales {
                values.iter_mut().zip(scales).for_each(|(value, scale)| *value *= scale);
            }
            if let Some(bias) = self.bias {
                values.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
            }
            f(values, place.region.row(row, place.columns.clone()));
        }
    }
}

#[inline(always)]
fn write<const N: usize>(values: &[f32; N], out: &mut [f32], add: bool) {
    if let Ok(out) = <&mut [f32; N]>::try_from(&mut *out) {
        // A whole panel. Sums are made beside it and copied: added in place, LLVM takes one value at a time.
        let mut results = *values;
        if add {
            results.iter_mut().zip(&*out).for_each(|(result, out)| *result += out);
        }
        *out = results;
    } else if add {
        out.iter_mut().zip(values).for_each(|(out, value)| *out += value);
    } else {
        out.iter_mut().zip(values).for_each(|(out, value)| *out = *value);
    }
}
