//! What stands between the engine and devices that have a memory of their own: a thread and a replica of the
//! model for each, the tokens that fit, what happens when they do not fit all the same, and when a device fails.
//!
//! ```text
//! batch -> sort by length (the caller's thread) -> the card with least to do -> its thread: pieces that fit -> rows
//! ```
//!
//! Each card takes two batches: while one runs, the next is made ready on its caller's thread and waits.

mod budget;
mod devices;
mod fitted;
mod prepared;
mod thread;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub use self::budget::{Footprint, GPU_BATCH_TOKENS, Limits, Memory};
pub use self::devices::{Open, load, load_on};
use self::prepared::Prepared;
use self::thread::{Answer, CardThread};
use super::{Backend, BackendInfo};
use crate::batch::PackedBatch;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::sync::lock;

/// A model on one device. One thread owns it and makes all calls to it.
pub trait Card {
    /// What was loaded, and where.
    fn info(&self) -> &BackendInfo;

    /// What a batch takes of the device's memory.
    fn footprint(&self) -> Footprint;

    /// The device's memory now, all processes counted; `None` where it does not tell.
    fn memory(&self) -> Option<Memory>;

    /// Runs a batch and pools it, as [`Backend::run`].
    ///
    /// # Errors
    /// `OUT_OF_MEMORY`: a smaller batch may do. `DEVICE_UNAVAILABLE`: the device failed. `ABORTED`, `INTERNAL`.
    fn run(&mut self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>>;

    /// Waits until the device has done all that it was told, so that freed memory is free.
    ///
    /// # Errors
    /// `DEVICE_UNAVAILABLE` if it will never do anything again.
    fn check(&mut self) -> Result<()>;
}

/// Makes a card, on the thread that will own it.
pub type MakeCard = Box<dyn FnOnce() -> Result<Box<dyn Card>> + Send>;

/// A model on one or more devices, each with a replica of it.
pub struct Cards {
    cards: Vec<CardThread>,
    info: BackendInfo,
    /// Held while a card is chosen, so that two callers do not choose the same idle one.
    choosing: Mutex<()>,
    notices: Mutex<Vec<String>>,
}

impl Cards {
    /// Loads a replica on each card, all at the same time.
    ///
    /// # Errors
    /// Those of the first card that failed; `INVALID_OPTION` without a card.
    pub fn start(cards: Vec<(String, MakeCard)>, limits: Limits) -> Result<Self> {
        let starting: Vec<_> = cards.into_iter().map(|(name, make)| CardThread::start(name, make, limits)).collect();
        let mut cards = Vec::new();
        let mut infos = Vec::new();
        for starting in starting {
            let (card, info) = starting.and_then(thread::Starting::wait)?;
            cards.push(card);
            infos.push(info);
        }
        let Some(first) = infos.first() else {
            return Err(Error::invalid_option("device", "No device is named. Name one, such as 'cuda:0'."));
        };
        let names: Vec<&str> = infos.iter().map(|info| info.device.as_str()).collect();
        let info = BackendInfo {
            device: together(&names),
            weight_bytes: infos.iter().map(|info| info.weight_bytes).sum(),
            ..first.clone()
        };
        Ok(Cards { cards, info, choosing: Mutex::new(()), notices: Mutex::default() })
    }

    /// Hands the batch to the card with the fewest tokens to do.
    fn hand_over(&self, batch: &Arc<PackedBatch>, cancel: &Cancel) -> Option<(&CardThread, thread::Waiting)> {
        let _choosing = lock(&self.choosing);
        let working = self.cards.iter().filter(|card| card.failure().is_none());
        let card = working.min_by_key(|card| card.outstanding())?;
        Some((card, card.submit(batch, cancel)))
    }

    /// One warning for each card, whoever finds out.
    fn drop_out(&self, card: &CardThread, error: &Error) {
        if !card.first_to_tell() {
            return;
        }
        let left: Vec<&str> = self.cards.iter().filter(|card| card.failure().is_none()).map(CardThread::name).collect();
        if !left.is_empty() {
            let message = format!(
                "{} failed and is not used any more: {} The model goes on with {}.",
                card.name(),
                sentence(&error.message),
                left.join(", ")
            );
            lock(&self.notices).push(message);
        }
    }

    fn none_left(&self) -> Error {
        let attempts: Vec<Value> = self
            .cards
            .iter()
            .map(|card| json!({ "device": card.name(), "reason": card.failure().map(|error| error.message) }))
            .collect();
        let told: Vec<String> = self
            .cards
            .iter()
            .filter_map(|card| card.failure().map(|error| format!("{}: {}", card.name(), sentence(&error.message))))
            .collect();
        Error::new(
            Code::DeviceUnavailable,
            format!("No device is left to run the model. {} Restart the program, or use device 'cpu'.", told.join(" ")),
        )
        .with("device", self.info.device.as_str())
        .with("attempts", attempts)
    }
}

impl Backend for Cards {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// Of the card that takes the fewest.
    fn tokens_per_batch(&self) -> Option<usize> {
        let working = self.cards.iter().filter(|card| card.failure().is_none());
        working.map(CardThread::budget).min()
    }

    fn lanes(&self) -> usize {
        2 * self.cards.len()
    }

    fn notices(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notices))
    }

    fn run(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        if batch.tokens() == 0 {
            return Ok(Vec::new());
        }
        let prepared = Prepared::new(batch);
        loop {
            cancel.check()?;
            let Some((card, waiting)) = self.hand_over(&prepared.batch, cancel) else { return Err(self.none_left()) };
            match waiting.wait() {
                Answer::Done(rows) => return prepared.restore(rows?, self.info.width),
                Answer::Cancelled => return Err(Error::aborted()),
                Answer::CardFailed(error) => self.drop_out(card, &error),
            }
        }
    }
}

/// `cuda:0` and `cuda:1` as `cuda:0,1`.
fn together(names: &[&str]) -> String {
    let mut all = String::new();
    let mut last_kind = None;
    for name in names {
        let kind = name.split_once(':').map(|(kind, _)| kind);
        match name.split_once(':') {
            Some((_, index)) if kind == last_kind => {
                all.push(',');
                all.push_str(index);
            }
            _ => {
                if !all.is_empty() {
                    all.push(',');
                }
                all.push_str(name);
            }
        }
        last_kind = kind;
    }
    all
}

/// With one full stop.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end().trim_end_matches('.'))
}
