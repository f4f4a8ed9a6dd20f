//! A small computation on a card, as the encoders make it. In the probe's process only: where a library lacks a
//! function that cudarc calls, it panics, and once more while it cleans up, which ends the process.

use super::driver::{Card, Refusal};
use super::search::Library;

/// Multiplies two small matrices on the first card that our build can use; `step` is told which library comes next.
/// Builds without CUDA have nothing to compute with, and take the libraries' word.
pub(super) fn try_cards(cards: &[Card], step: impl FnMut(Library)) -> Result<(), Refusal> {
    #[cfg(feature = "cuda")]
    if let Some(index) = cards.iter().position(|card| card.reason().is_none()) {
        return on_card::multiply(index, step);
    }
    let _ = (cards, step);
    Ok(())
}

#[cfg(feature = "cuda")]
mod on_card {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use candle_core::{DType, Device, Tensor};

    use super::{Library, Refusal};
    use crate::backend::candle::generic::from_candle;
    use crate::error::Code;

    /// Rows and columns.
    const SIZE: usize = 16;

    pub(super) fn multiply(index: usize, mut step: impl FnMut(Library)) -> Result<(), Refusal> {
        // The kernels' PTX is compiled by the driver.
        step(Library::Driver);
        let halves = attempt(|| {
            let device = Device::new_cuda_with_stream(index)?;
            Tensor::from_vec(vec![0.5_f32; SIZE * SIZE], (SIZE, SIZE), &device)?.to_dtype(DType::BF16)
        })?;
        // A full card is no broken one.
        let Some(halves) = halves else { return Ok(()) };
        step(Library::Cublas);
        let product = attempt(|| halves.matmul(&halves)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>())?;
        match product {
            Some(values) if values.iter().any(|value| *value != SIZE as f32 / 4.0) => {
                Err(Refusal::Broken(format!("a product on card {index} came out wrong")))
            }
            _ => Ok(()),
        }
    }

    /// `None` where the card has no memory left.
    fn attempt<T>(work: impl FnOnce() -> candle_core::Result<T>) -> Result<Option<T>, Refusal> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) => {
                let error = from_candle(error);
                if error.code == Code::OutOfMemory { Ok(None) } else { Err(Refusal::Broken(error.message)) }
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                Err(Refusal::Broken(format!("computing with it ends in: {message}")))
            }
        }
    }
}
