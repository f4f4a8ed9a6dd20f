//! The threads of models: starting them, counting them, waiting for their end.

use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::shared::Promise;
use crate::error::{Code, Error};
use crate::sync::lock;

/// Starts a thread for a promise; if there can be none, that is what those who wait are told.
pub(super) fn spawn<K, V>(name: &str, promise: Promise<K, V>, work: impl FnOnce(Promise<K, V>) + Send + 'static)
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    // The promise is handed over through a slot, because a thread that cannot be started drops what it was given.
    let slot = Arc::new(Mutex::new(Some(promise)));
    let taken = Arc::clone(&slot);
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(8 << 20);
    let started = thread.spawn(move || {
        let promise = lock(&taken).take();
        if let Some(promise) = promise {
            work(promise);
        }
    });
    if let Err(error) = started {
        let promise = lock(&slot).take();
        if let Some(promise) = promise {
            promise.keep(Err(Error::new(Code::OutOfMemory, format!("No thread can be started: {error}."))));
        }
    }
}

/// Counts threads that are at work.
#[derive(Default)]
pub(super) struct Running {
    state: Mutex<RunningState>,
    changed: Condvar,
}

#[derive(Default)]
struct RunningState {
    count: usize,
    /// No more begin: whoever waits for the last to leave must not be overtaken by a new one.
    closed: bool,
}

/// One of them.
pub(super) struct OneRunning(Arc<Running>);

impl Running {
    /// One more; `None` after [`Running::close`].
    pub(super) fn enter(self: &Arc<Self>) -> Option<OneRunning> {
        let mut state = lock(&self.state);
        if state.closed {
            return None;
        }
        state.count += 1;
        Some(OneRunning(Arc::clone(self)))
    }

    /// Lets no more in.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
    }

    /// Waits until the last has left, at most for `limit`; whether it has.
    pub(super) fn wait_for_none(&self, limit: Option<Duration>) -> bool {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = lock(&self.state);
        while state.count > 0 {
            let left = deadline
                .map_or(Duration::from_secs(3600), |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for OneRunning {
    fn drop(&mut self) {
        lock(&self.0.state).count -= 1;
        self.0.changed.notify_all();
    }
}
