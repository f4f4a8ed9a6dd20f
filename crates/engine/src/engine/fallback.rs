//! `auto` goes on with the CPU where a card cannot be used, and says why, each reason once.

use std::sync::Mutex;

use crate::error::{Code, Result};
use crate::sync::lock;

/// What is to be told of fallbacks.
#[derive(Debug, Default)]
pub(super) struct Fallback {
    /// What is to be told, and what was told already, or will be.
    warnings: Mutex<(Vec<String>, Vec<String>)>,
}

impl Fallback {
    /// Keeps a warning to be told, unless it was before.
    pub(super) fn warn(&self, warning: &str) {
        let (waiting, known) = &mut *lock(&self.warnings);
        if !known.iter().any(|other| other == warning) {
            known.push(warning.to_owned());
            waiting.push(warning.to_owned());
        }
    }

    /// The next warning to tell.
    pub(super) fn take(&self) -> Option<String> {
        let (waiting, _) = &mut *lock(&self.warnings);
        (!waiting.is_empty()).then(|| waiting.remove(0))
    }

    /// Loads on `device`; where `auto` chose it and the device fails at that, on the CPU. Between the choice and the
    /// load another process may have taken the card's memory.
    ///
    /// # Errors
    /// Those of `load`.
    pub(super) fn load<T>(&self, device: &str, is_auto: bool, load: impl Fn(&str) -> Result<T>) -> Result<T> {
        match load(device) {
            Err(error)
                if is_auto && device != "cpu" && matches!(error.code, Code::DeviceUnavailable | Code::OutOfMemory) =>
            {
                self.warn(&format!("The model runs on the CPU, not on {device}: {}", error.message));
                load("cpu")
            }
            loaded => loaded,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Error;

    #[test]
    fn each_reason_is_told_once() {
        let fallback = Fallback::default();
        ["a", "b", "a"].iter().for_each(|warning| fallback.warn(warning));
        assert_eq!((fallback.take().as_deref(), fallback.take().as_deref()), (Some("a"), Some("b")));
        fallback.warn("a");
        assert_eq!(fallback.take(), None);
    }

    #[test]
    fn auto_goes_on_with_the_cpu_where_the_card_fails() {
        let fails = |code: Code| {
            move |device: &str| match device {
                "cpu" => Ok("cpu"),
                _ => Err(Error::new(code, "It is full.")),
            }
        };
        for code in [Code::DeviceUnavailable, Code::OutOfMemory] {
            let fallback = Fallback::default();
            assert_eq!(fallback.load("cuda:1", true, fails(code)).unwrap(), "cpu");
            let warning = fallback.take().unwrap();
            assert!(warning.contains("not on cuda:1: It is full."), "{warning}");
            // What was asked for, or an error.
            assert_eq!(fallback.load("cuda:1", false, fails(code)).unwrap_err().code, code);
        }
        // A broken model is as broken elsewhere.
        let fallback = Fallback::default();
        let refused = fallback.load("cuda:1", true, fails(Code::BadCheckpoint)).unwrap_err();
        assert_eq!((refused.code, fallback.take()), (Code::BadCheckpoint, None));
        let both = |_: &str| Err::<(), _>(Error::new(Code::OutOfMemory, "No."));
        assert_eq!(fallback.load("cpu", true, both).unwrap_err().code, Code::OutOfMemory);
        assert_eq!(fallback.take(), None);
    }
}
