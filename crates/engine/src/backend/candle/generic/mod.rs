//! The parts of a transformer in Candle's operations: the same code on every device that Candle has,
//! and so tested on its CPU. On a CPU, [`super::cpu`] is faster.

mod attention;
mod parts;

pub use parts::GenericParts;

use candle_core::Tensor;

use crate::error::{Code, Error};
use crate::model::Activation;

/// An error of Candle's as ours: what cannot be allocated is told apart.
fn from_candle(error: candle_core::Error) -> Error {
    let message = error.to_string();
    let lower = message.to_lowercase();
    if lower.contains("out of memory") || lower.contains("out_of_memory") {
        Error::new(Code::OutOfMemory, format!("The device has no memory left: {message}"))
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
