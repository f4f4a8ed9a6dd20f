//! How many bytes the weights of loaded models take, and the limit on that.

use std::sync::{Arc, Mutex};

use crate::error::{Code, Error};
use crate::sync::lock;

/// Counts the bytes of all loaded models.
pub(super) struct Memory {
    limit: Option<u64>,
    used: Mutex<u64>,
}

impl Memory {
    pub(super) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Memory { limit, used: Mutex::new(0) })
    }

    /// Whether so much would fit if nothing else were loaded.
    pub(super) fn can_ever_fit(&self, bytes: u64) -> bool {
        self.limit.is_none_or(|limit| bytes <= limit)
    }

    /// Takes `bytes`, if they fit now.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let mut used = lock(&self.used);
        let after = used.saturating_add(bytes);
        if self.limit.is_some_and(|limit| after > limit) {
            return None;
        }
        *used = after;
        Some(Held { memory: Arc::clone(self), bytes })
    }

    /// `OUT_OF_MEMORY` with the figures.
    pub(super) fn exceeded(&self, model: &str, needed: u64) -> Error {
        let used = *lock(&self.used);
        let limit = self.limit.unwrap_or(u64::MAX);
        Error::new(
            Code::OutOfMemory,
            format!(
                "{model} needs {} for its weights, but memoryLimit is {}, of which models in use take {}. Raise \
                 memoryLimit, or wait until the other models are idle.",
                mebibytes(needed),
                mebibytes(limit),
                mebibytes(used)
            ),
        )
        .with("model", model)
        .with("needed", needed)
        .with("limit", limit)
        .with("used", used)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The bytes of one model, given back when this is dropped.
pub(super) struct Held {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Held {
    /// Changes the estimate into the real number.
    pub(super) fn resize(&mut self, bytes: u64) {
        let mut used = lock(&self.memory.used);
        *used = used.saturating_sub(self.bytes).saturating_add(bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut used = lock(&self.memory.used);
        *used = used.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let memory = Memory::new(Some(100));
        let mut first = memory.take(60).unwrap();
        assert!(memory.take(41).is_none());
        let second = memory.take(40).unwrap();
        drop(second);
        first.resize(90);
        assert!(memory.take(11).is_none());
        let error = memory.exceeded("m", 11);
        assert_eq!((&error.details["used"], &error.details["limit"]), (&90.into(), &100.into()));
        drop(first);
        assert!(memory.can_ever_fit(100) && !memory.can_ever_fit(101));
        assert!(memory.take(100).is_some());
        assert!(Memory::new(None).take(u64::MAX).is_some());
    }
}
