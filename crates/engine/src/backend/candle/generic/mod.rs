//! The parts of a transformer in Candle's operations: the same code on every device that Candle has,
//! and so tested on its CPU. On a CPU, [`super::cpu`] is faster.
//!
//! What matters on a GPU: nothing is copied to or from the host between layers, attention runs over many
//! sequences at once ([`layout`]), masks are made where they are used, and the fused kernels are taken
//! where there are any. Those (softmax, norms, rotary) have no backward pass.

mod attention;
mod layout;
mod load;
mod parts;
mod pooling;

pub use parts::GenericParts;

use candle_core::{Device, Tensor};

use crate::error::{Code, Error};
use crate::model::Activation;

/// How much is done at once: a GPU wants large pieces, and a CPU such that stay in its cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiles {
    /// Rows that pass through an MLP together, so that its inner width is not held for a whole long text.
    pub(crate) rows: usize,
    /// Scores of attention held at once, over all heads and sequences.
    pub(crate) scores: usize,
}

impl Tiles {
    /// Those for a device.
    pub(crate) fn of(device: &Device) -> Self {
        if device.is_cpu() { Tiles { rows: 2048, scores: 1 << 22 } } else { Tiles::GPU }
    }

    /// Those for a GPU. Attention's take 256 MiB in f32.
    pub(crate) const GPU: Tiles = Tiles { rows: 16_384, scores: 1 << 26 };
}

/// An error of Candle's as ours: what cannot be allocated is told apart, and so is a device that fails.
///
/// `DEVICE_UNAVAILABLE` for whatever the driver or a library of the device reports: none of it can come from
/// a text, because shapes and ids are checked on the host.
pub(crate) fn from_candle(error: candle_core::Error) -> Error {
    let message = error.to_string();
    let lower = message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if any(&["out of memory", "out_of_memory", "status_alloc_failed", "status_allocation_failed"]) {
        Error::new(Code::OutOfMemory, format!("The device has no memory left: {message}"))
    } else if any(&["cuda_error", "cublas_status", "curand_status", "metal error"]) {
        Error::new(Code::DeviceUnavailable, format!("The device failed: {message}"))
    } else {
        Error::internal(format!("Candle: {message}"))
    }
}

/// Applies `activation` to every value.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_a_device_are_told_apart() {
        let code = |message: &str| from_candle(candle_core::Error::Msg(message.to_owned())).code;
        assert_eq!(code("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"), Code::OutOfMemory);
        assert_eq!(code("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"), Code::OutOfMemory);
        assert_eq!(code("CurandError(CURAND_STATUS_ALLOCATION_FAILED)"), Code::OutOfMemory);
        assert_eq!(code("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"x\")"), Code::DeviceUnavailable);
        assert_eq!(code("CublasError(CUBLAS_STATUS_EXECUTION_FAILED)"), Code::DeviceUnavailable);
        assert_eq!(code("shape mismatch"), Code::Internal);
    }
}
