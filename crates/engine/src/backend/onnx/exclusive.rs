//! One session, many callers: `Session::run` is not thread-safe, so they take turns.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::Result;

/// How often a waiting or running call looks at its [`Cancel`].
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Holds a value that one caller at a time may use. Unlike a `Mutex` the wait can be cancelled.
pub(super) struct Exclusive<T> {
    free: Mutex<Option<T>>,
    given_back: Condvar,
}

impl<T> Exclusive<T> {
    /// Holds `value`.
    pub(super) fn new(value: T) -> Self {
        Exclusive { free: Mutex::new(Some(value)), given_back: Condvar::new() }
    }

    /// Waits until the value is free.
    ///
    /// # Errors
    /// `ABORTED` if the wait is cancelled.
    pub(super) fn take(&self, cancel: &Cancel) -> Result<Taken<'_, T>> {
        let mut free = self.lock();
        loop {
            cancel.check()?;
            if let Some(value) = free.take() {
                return Ok(Taken { owner: self, value: Some(value) });
            }
            free = self.given_back.wait_timeout(free, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The lock is held for moments only, in which nothing can panic: a poisoned one is still good.
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value, until it is dropped; given back after a panic as well.
pub(super) struct Taken<'a, T> {
    owner: &'a Exclusive<T>,
    value: Option<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("held until dropped")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("held until dropped")
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        *self.owner.lock() = self.value.take();
        self.owner.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::error::Code;

    #[test]
    fn one_at_a_time() {
        let counter = Exclusive::new(0_u32);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut value = counter.take(&Cancel::never()).expect("never cancelled");
                        let before = *value;
                        thread::yield_now();
                        *value = before + 1;
                    }
                });
            }
        });
        assert_eq!(*counter.take(&Cancel::never()).expect("free"), 200);
    }

    #[test]
    fn a_wait_can_be_cancelled() {
        let value = Exclusive::new(());
        let _held = value.take(&Cancel::never()).expect("free");
        let cancel = Cancel::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| value.take(&cancel).map(|_| ()).expect_err("cancelled").code);
            thread::sleep(Duration::from_millis(30));
            let started = Instant::now();
            cancel.cancel();
            assert_eq!(waiting.join().expect("no panic"), Code::Aborted);
            assert!(started.elapsed() < Duration::from_millis(200));
        });
    }

    #[test]
    fn given_back_after_a_panic() {
        let value = Exclusive::new(7);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = value.take(&Cancel::never()).expect("free");
            std::panic::resume_unwind(Box::new("stop"));
        }));
        assert!(panicked.is_err());
        assert_eq!(*value.take(&Cancel::never()).expect("free again"), 7);
    }
}
