//! Weights from the mapped file to the device, a block at a time: neither the model nor a large table is
//! ever held on the host as a whole.

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::from_candle;
use crate::backend::weights::Weight;
use crate::error::{Error, Result};

/// Values that are read, checked and sent at once: 64 MiB in f32.
const BLOCK: usize = 1 << 24;
/// Values that one thread reads at once: they stay in its cache.
const PART: usize = 1 << 16;

/// `weights` stacked along their first dimension, in `dtype` (f32, bf16 or f16) on `device`.
///
/// # Errors
/// `BAD_CHECKPOINT` for NaN or infinity; `INVALID_OPTION` for what f16 cannot hold; `OUT_OF_MEMORY`.
pub(super) fn stacked(weights: &[Weight], dtype: DType, device: &Device) -> Result<Tensor> {
    let Some(first) = weights.first() else { return Err(Error::internal("no weights to load")) };
    let rest = first.shape().get(1..).unwrap_or(&[]);
    if weights.iter().any(|weight| weight.shape().get(1..) != Some(rest)) {
        return Err(Error::internal(format!("{} and what is stacked on it differ in width", first.name())));
    }
    let width: usize = rest.iter().product();
    let rows: usize = weights.iter().filter_map(|weight| weight.shape().first()).sum();
    let all = Tensor::zeros((rows, width), dtype, device).map_err(from_candle)?;
    let mut at = 0;
    for weight in weights {
        let rows = weight.len() / width.max(1);
        let block = (BLOCK / width.max(1)).max(1);
        for from in (0..rows).step_by(block) {
            let count = block.min(rows - from);
            let values = read(weight, from * width, count * width, dtype)?;
            let sent = values.reshape((count, width)).and_then(|values| values.to_device(device));
            sent.and_then(|values| all.slice_set(&values, 0, at + from)).map_err(from_candle)?;
        }
        at += rows;
        weight.forget();
    }
    let mut shape = vec![rows];
    shape.extend_from_slice(rest);
    all.reshape(shape).map_err(from_candle)
}

/// `count` values on the host.
fn read(weight: &Weight, from: usize, count: usize, dtype: DType) -> Result<Tensor> {
    match dtype {
        DType::BF16 => tensor(converted(weight, from, count, bf16::from_f32)?),
        DType::F16 => {
            let values = converted(weight, from, count, f16::from_f32)?;
            if !values.par_iter().all(|value| value.is_finite()) {
                let message = format!(
                    "dtype 'float16' cannot hold the values of {}; use 'bfloat16' or 'float32'.",
                    weight.name()
                );
                return Err(Error::invalid_option("dtype", message));
            }
            tensor(values)
        }
        _ => tensor(converted(weight, from, count, |value| value)?),
    }
}

fn tensor<T: candle_core::WithDType>(values: Vec<T>) -> Result<Tensor> {
    let count = values.len();
    Tensor::from_vec(values, count, &Device::Cpu).map_err(from_candle)
}

fn converted<T: Copy + Default + Send>(
    weight: &Weight,
    from: usize,
    count: usize,
    convert: impl Fn(f32) -> T + Sync,
) -> Result<Vec<T>> {
    let mut out = vec![T::default(); count];
    out.par_chunks_mut(PART).enumerate().try_for_each(|(part, out)| {
        let mut values = vec![0f32; out.len()];
        weight.read_finite(from + part * PART, &mut values)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = convert(value);
        }
        Ok::<(), Error>(())
    })?;
    Ok(out)
}
