//! A small computation on a card, as the encoders make it. In the probe's process only: where a library lacks a
//! function that cudarc calls, it panics, and once more while it cleans up, which ends the process.

use super::driver::{Card, Refusal};
use super::search::Library;

/// Multiplies two small matrices on the first card that our build can use and that has room for it: if it can on one,
/// the libraries are good. `step` is told which library comes next. Builds without CUDA have nothing to compute with,
/// and take the libraries' word.
///
/// # Errors
/// Why no card computes; none where all of them are full.
pub(super) fn try_cards(cards: &[Card], mut step: impl FnMut(Library)) -> Result<(), Refusal> {
    let usable = cards.iter().enumerate().filter(|(_, card)| card.reason().is_none()).map(|(index, _)| index);
    first_that_computes(usable, |index| on_card::multiply(index, &mut step))
}

/// `compute` says whether a card computed; `false` for one that has no room.
fn first_that_computes(
    cards: impl Iterator<Item = usize>,
    mut compute: impl FnMut(usize) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    let mut failed = None;
    for card in cards {
        match compute(card) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The last one: its library is the one that was told last.
            Err(refusal) => failed = Some(refusal),
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(not(feature = "cuda"))]
mod on_card {
    use super::{Library, Refusal};

    pub(super) fn multiply(_index: usize, _step: impl FnMut(Library)) -> Result<bool, Refusal> {
        Ok(true)
    }
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

    /// Whether the card has room for it.
    pub(super) fn multiply(index: usize, mut step: impl FnMut(Library)) -> Result<bool, Refusal> {
        // The kernels' PTX is compiled by the driver.
        step(Library::Driver);
        let halves = attempt(|| {
            let device = Device::new_cuda_with_stream(index)?;
            Tensor::from_vec(vec![0.5_f32; SIZE * SIZE], (SIZE, SIZE), &device)?.to_dtype(DType::BF16)
        })?;
        let Some(halves) = halves else { return Ok(false) };
        step(Library::Cublas);
        let product = attempt(|| halves.matmul(&halves)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>())?;
        match product {
            Some(values) if values.iter().any(|value| *value != SIZE as f32 / 4.0) => {
                Err(Refusal::Broken(format!("a product on card {index} came out wrong")))
            }
            product => Ok(product.is_some()),
        }
    }

    /// `None` where the card has no memory left. A full card is no broken one; cuBLAS says no more than that it is
    /// not initialized where it got no memory for its handle.
    fn attempt<T>(work: impl FnOnce() -> candle_core::Result<T>) -> Result<Option<T>, Refusal> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) => {
                let error = from_candle(error);
                let full = error.code == Code::OutOfMemory || error.message.contains("CUBLAS_STATUS_NOT_INITIALIZED");
                if full { Ok(None) } else { Err(Refusal::Broken(error.message)) }
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                Err(Refusal::Broken(format!("computing with it ends in: {message}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_card_that_computes_is_enough() {
        let broken = || Err(Refusal::Broken("it is broken".to_owned()));
        let mut asked = Vec::new();
        let mut tried = |answers: &[fn() -> Result<bool, Refusal>]| {
            asked.clear();
            let result = first_that_computes(0..answers.len(), |card| {
                asked.push(card);
                answers[card]()
            });
            (result, asked.len())
        };
        let full: fn() -> Result<bool, Refusal> = || Ok(false);
        assert_eq!(tried(&[broken, full, || Ok(true), broken]), (Ok(()), 3));
        assert_eq!(tried(&[full, full]), (Ok(()), 2));
        assert_eq!(tried(&[full, broken, full]), (broken().map(|_| ()), 3));
        assert_eq!(tried(&[]), (Ok(()), 0));
    }
}
