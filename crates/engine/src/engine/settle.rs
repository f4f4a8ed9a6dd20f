//! The end of a call: exactly one result, whoever comes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::event::OnEvent;
use super::reporter::Reporter;
use crate::cancel::{Cancel, Listening};
use crate::error::{Code, Error, Result};
use crate::sync::{catch, lock};

/// What a caller wants to be done with the result. Called once, on any thread: it must not wait.
pub(super) type Done<T> = Box<dyn FnOnce(Result<T>) + Send>;

/// The caller's side of a call, shared by all that works for it.
///
/// The result is told once: by the work that is done, by the first failure, by the caller's own
/// cancelling, or by the engine's disposal. Whatever comes later is dropped. A call that is forgotten
/// by everybody is told so as well.
///
/// The results of work come after the events of the call; cancelling and disposal wait for no listener.
pub(super) struct Settle<T> {
    reporter: Reporter,
    done: Mutex<Option<Done<T>>>,
    /// Raised when the call is over: what still works for it stops.
    stop: Cancel,
    /// For the caller's cancelling; removed when the call is over.
    listening: Mutex<Option<Listening>>,
}

impl<T: Send + 'static> Settle<T> {
    pub(super) fn new(cancel: &Cancel, progress: Option<OnEvent>, done: Done<T>) -> Arc<Self> {
        let settle = Arc::new(Settle {
            reporter: Reporter::new(progress),
            done: Mutex::new(Some(done)),
            stop: Cancel::new(),
            listening: Mutex::new(None),
        });
        let call = Arc::downgrade(&settle);
        let listening = cancel.on_cancel(move || {
            if let Some(call) = call.upgrade() {
                call.end_at_once(Error::aborted());
            }
        });
        *lock(&settle.listening) = Some(listening);
        // It may be over by now, and then nobody would take the listener away.
        if settle.is_over() {
            lock(&settle.listening).take();
        }
        settle
    }

    /// Tells the events of the call.
    pub(super) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Raised when the call is over.
    pub(super) fn stop(&self) -> &Cancel {
        &self.stop
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends the call, unless it is over. The result is told after all events that were put before: at once, or by the
    /// thread that is telling them. Not under a lock.
    pub(super) fn finish(self: &Arc<Self>, result: Result<T>) {
        self.finish_holding(result, ());
    }

    /// As [`Settle::finish`]; `held` is dropped when the caller was told.
    pub(super) fn finish_holding(self: &Arc<Self>, result: Result<T>, held: impl Send + 'static) {
        let settle = Arc::clone(self);
        self.reporter.put_end(move || {
            settle.tell(result);
            drop(held);
        });
        self.reporter.tell();
    }

    /// Ends the call, unless it is over, without waiting for its listener.
    fn end_at_once(&self, error: Error) {
        self.reporter.close();
        self.tell(Err(error));
    }

    fn tell(&self, result: Result<T>) {
        let Some(done) = lock(&self.done).take() else { return };
        let _ = catch("telling a result", || {
            done(result);
            Ok(())
        });
        self.stop.cancel();
        let listening = lock(&self.listening).take();
        drop(listening);
    }

    /// Does a step of the call, unless it is over; a failure or a panic ends it.
    pub(super) fn step(self: &Arc<Self>, what: &str, work: impl FnOnce() -> Result<()>) {
        if self.is_over() {
            return;
        }
        if let Err(error) = catch(what, work) {
            self.finish(Err(error));
        }
    }
}

impl<T> Drop for Settle<T> {
    fn drop(&mut self) {
        if let Some(done) = lock(&self.done).take() {
            let _ = catch("telling a result", || {
                done(Err(Error::internal("The call was dropped without a result. Please report this.")));
                Ok(())
            });
            self.stop.cancel();
        }
    }
}

/// A call of any kind that can be ended with an error, at once.
trait Fail: Send + Sync {
    fn fail(&self, error: Error);
}

impl<T: Send + 'static> Fail for Settle<T> {
    fn fail(&self, error: Error) {
        self.end_at_once(error);
    }
}

/// All calls that are not over, so that disposal reaches each, wherever it waits.
#[derive(Default)]
pub(super) struct Calls {
    state: Mutex<CallsState>,
}

#[derive(Default)]
struct CallsState {
    disposed: bool,
    next: u64,
    running: HashMap<u64, Weak<dyn Fail>>,
}

impl Calls {
    /// Begins a call; `None` where the engine is disposed, and then `done` was told.
    pub(super) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: Done<T>,
    ) -> Option<Arc<Settle<T>>> {
        let settle = Settle::new(cancel, progress, done);
        let entered = {
            let mut state = lock(&self.state);
            state.next += 1;
            let id = state.next;
            let entered = !state.disposed;
            if entered {
                let call = Arc::downgrade(&settle);
                state.running.insert(id, call);
            }
            entered.then_some(id)
        };
        let Some(id) = entered else {
            settle.finish(Err(disposed()));
            return None;
        };
        let calls = Arc::downgrade(self);
        let leave = settle.stop().on_cancel(move || {
            if let Some(calls) = calls.upgrade() {
                lock(&calls.state).running.remove(&id);
            }
        });
        leave.detach();
        Some(settle)
    }

    /// Ends all calls with `DISPOSED`, and lets no more in.
    pub(super) fn dispose(&self) {
        let running = {
            let mut state = lock(&self.state);
            state.disposed = true;
            std::mem::take(&mut state.running)
        };
        for call in running.into_values().filter_map(|call| call.upgrade()) {
            call.fail(disposed());
        }
    }

    pub(super) fn is_disposed(&self) -> bool {
        lock(&self.state).disposed
    }
}

/// `DISPOSED`.
pub(super) fn disposed() -> Error {
    Error::new(Code::Disposed, "The engine was disposed. Make a new EmbeddingEngine for further calls.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn call(cancel: &Cancel) -> (Arc<Settle<u8>>, Receiver<Result<u8, Code>>) {
        let (sender, receiver) = channel();
        let done = Box::new(move |result: Result<u8>| sender.send(result.map_err(|error| error.code)).unwrap());
        (Settle::new(cancel, None, done), receiver)
    }

    #[test]
    fn the_first_result_counts() {
        let cancel = Cancel::new();
        let (settle, results) = call(&cancel);
        settle.finish(Ok(1));
        settle.finish(Ok(2));
        cancel.cancel();
        assert!(settle.is_over());
        drop(settle);
        assert_eq!(results.iter().collect::<Vec<_>>(), [Ok(1)]);
    }

    #[test]
    fn cancelling_ends_the_call_at_once() {
        let cancel = Cancel::new();
        let (settle, results) = call(&cancel);
        cancel.cancel();
        assert_eq!(results.try_recv().unwrap(), Err(Code::Aborted));
        settle.step("testing", || panic!("no step is done after the end"));

        let (settle, results) = call(&cancel);
        assert_eq!(results.try_recv().unwrap(), Err(Code::Aborted));
        assert!(settle.is_over());
    }

    #[test]
    fn failures_panics_and_forgetting_end_the_call() {
        let (settle, results) = call(&Cancel::never());
        settle.step("testing", || Err(Error::unsupported("x")));
        assert_eq!(results.try_recv().unwrap(), Err(Code::ModelUnsupported));

        let (settle, results) = call(&Cancel::never());
        settle.step("testing", || panic!("ouch"));
        assert_eq!(results.try_recv().unwrap(), Err(Code::Internal));

        let (settle, results) = call(&Cancel::never());
        drop(settle);
        assert_eq!(results.try_recv().unwrap(), Err(Code::Internal));
    }

    #[test]
    fn a_token_of_many_calls_keeps_nothing_of_them() {
        let cancel = Cancel::new();
        for _ in 0..10 {
            let (settle, results) = call(&cancel);
            settle.finish(Ok(1));
            let weak = Arc::downgrade(&settle);
            drop(settle);
            assert!(weak.upgrade().is_none());
            assert_eq!(results.iter().count(), 1);
        }
    }

    #[test]
    fn disposal_ends_all_calls() {
        let calls = Arc::new(Calls::default());
        let (sender, results) = channel();
        let begin = || {
            let sender = sender.clone();
            let done = Box::new(move |result: Result<u8>| sender.send(result.map_err(|error| error.code)).unwrap());
            calls.begin(&Cancel::new(), None, done)
        };
        let (first, second) = (begin().unwrap(), begin().unwrap());
        first.finish(Ok(1));
        assert_eq!(lock(&calls.state).running.len(), 1);
        calls.dispose();
        assert!(second.is_over());
        assert!(begin().is_none());
        drop((sender, first, second));
        assert_eq!(results.iter().collect::<Vec<_>>(), [Ok(1), Err(Code::Disposed), Err(Code::Disposed)]);
    }
}
