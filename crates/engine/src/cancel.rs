//! Cancelling: a flag that work looks at between layers, tiles and batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A flag shared by the caller, who sets it, and the work, which polls it.
///
/// Clones share the flag. A batch that serves several calls is cancelled when all of them are: see
/// [`Cancel::all`].
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flags: Vec<Arc<AtomicBool>>,
}

impl Cancel {
    /// A new flag that nobody has set.
    pub fn new() -> Self {
        Cancel { flags: vec![Arc::new(AtomicBool::new(false))] }
    }

    /// A token that can never be cancelled.
    pub fn never() -> Self {
        Cancel { flags: Vec::new() }
    }

    /// Cancelled as soon as every one of `tokens` is; if one can never be, neither can this.
    pub fn all<'a>(tokens: impl IntoIterator<Item = &'a Cancel>) -> Self {
        let mut flags = Vec::new();
        for token in tokens {
            if token.flags.is_empty() {
                return Cancel::never();
            }
            flags.extend(token.flags.iter().cloned());
        }
        Cancel { flags }
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        for flag in &self.flags {
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the work should stop.
    pub fn is_cancelled(&self) -> bool {
        !self.flags.is_empty() && self.flags.iter().all(|flag| flag.load(Ordering::Relaxed))
    }

    /// `Err(ABORTED)` once cancelled.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::aborted()) } else { Ok(()) }
    }
}
