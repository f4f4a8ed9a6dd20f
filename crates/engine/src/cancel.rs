//! Cancelling: a flag that work looks at between layers, tiles and batches, and that tells listeners.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::error::{Error, Result};
use crate::sync::lock;

/// A flag shared by the caller, who sets it, and the work, which polls it.
///
/// Clones share the flag. A batch that serves several calls is cancelled when all of them are: see
/// [`Cancel::all`].
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flags: Vec<Arc<Flag>>,
}

impl Cancel {
    /// A new flag that nobody has set.
    pub fn new() -> Self {
        Cancel { flags: vec![Arc::default()] }
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

    /// Asks the work to stop, and runs the listeners on this thread.
    pub fn cancel(&self) {
        for flag in &self.flags {
            flag.raise();
        }
    }

    /// Whether the work should stop.
    pub fn is_cancelled(&self) -> bool {
        !self.flags.is_empty() && self.flags.iter().all(|flag| flag.raised.load(Ordering::Relaxed))
    }

    /// `Err(ABORTED)` once cancelled.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::aborted()) } else { Ok(()) }
    }

    /// Runs `listener` once, as soon as this is cancelled: on the thread that cancels, or at once on
    /// this one if it already is. Not after the returned [`Listening`] is dropped.
    pub fn on_cancel(&self, listener: impl FnOnce() + Send + 'static) -> Listening {
        let listener = Arc::new(Mutex::new(Some(listener)));
        // Counted down flag by flag; the flags are not held, or they would hold themselves.
        let missing = Arc::new(AtomicUsize::new(self.flags.len()));
        let mut places = Vec::with_capacity(self.flags.len());
        for flag in &self.flags {
            let (missing, listener) = (Arc::clone(&missing), Arc::clone(&listener));
            let tell = Box::new(move || {
                if missing.fetch_sub(1, Ordering::AcqRel) == 1
                    && let Some(listener) = lock(&listener).take()
                {
                    listener();
                }
            });
            if let Some(place) = flag.listen(tell) {
                places.push((Arc::downgrade(flag), place));
            }
        }
        Listening { places }
    }
}

/// Keeps a listener of [`Cancel::on_cancel`] registered.
#[derive(Debug)]
#[must_use = "the listener is removed when this is dropped"]
pub struct Listening {
    places: Vec<(Weak<Flag>, u64)>,
}

impl Listening {
    /// Leaves the listener registered for as long as the flag lives.
    pub fn detach(mut self) {
        self.places.clear();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for (flag, place) in &self.places {
            if let Some(flag) = flag.upgrade() {
                // Dropped outside of the lock: what the listener holds may have a say in this flag.
                let _removed = flag.remove(*place);
            }
        }
    }
}

type Tell = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Flag {
    raised: AtomicBool,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    next: u64,
    waiting: Vec<(u64, Tell)>,
}

impl Flag {
    fn raise(&self) {
        let waiting = {
            let mut listeners = lock(&self.listeners);
            // Under the lock, so that nobody starts to listen between the flag and the calls.
            self.raised.store(true, Ordering::Relaxed);
            std::mem::take(&mut listeners.waiting)
        };
        for (_, tell) in waiting {
            tell();
        }
    }

    /// Registers `tell`; runs it at once where the flag is up already.
    fn listen(&self, tell: Tell) -> Option<u64> {
        let mut listeners = lock(&self.listeners);
        if self.raised.load(Ordering::Relaxed) {
            drop(listeners);
            tell();
            return None;
        }
        let place = listeners.next;
        listeners.next += 1;
        listeners.waiting.push((place, tell));
        Some(place)
    }

    fn remove(&self, place: u64) -> Option<Tell> {
        let mut listeners = lock(&self.listeners);
        let index = listeners.waiting.iter().position(|(other, _)| *other == place)?;
        Some(listeners.waiting.swap_remove(index).1)
    }
}

impl std::fmt::Debug for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Flag").field(&self.raised).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(token: &Cancel) -> (Arc<AtomicUsize>, Listening) {
        let count = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&count);
        let listening = token.on_cancel(move || {
            told.fetch_add(1, Ordering::Relaxed);
        });
        (count, listening)
    }

    #[test]
    fn listeners_are_told_once() {
        let token = Cancel::new();
        let (count, _listening) = counter(&token);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        token.clone().cancel();
        token.cancel();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let (late, _listening) = counter(&token);
        assert_eq!(late.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_dropped_listener_is_not_told() {
        let token = Cancel::new();
        let (dropped, listening) = counter(&token);
        drop(listening);
        let (kept, listening) = counter(&token);
        listening.detach();
        token.cancel();
        assert_eq!((dropped.load(Ordering::Relaxed), kept.load(Ordering::Relaxed)), (0, 1));
    }

    #[test]
    fn all_waits_for_the_last() {
        let (a, b) = (Cancel::new(), Cancel::new());
        let both = Cancel::all([&a, &b]);
        let (count, _listening) = counter(&both);
        a.cancel();
        assert!(!both.is_cancelled());
        assert_eq!(count.load(Ordering::Relaxed), 0);
        b.cancel();
        assert!(both.is_cancelled());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(!Cancel::all([&a, &Cancel::never()]).is_cancelled());
        assert!(!Cancel::never().is_cancelled());
    }
}
