//! Stopping a run: a thread that looks at the [`Cancel`] while ONNX Runtime works.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions};

use super::exclusive::POLL;
use crate::cancel::Cancel;

/// Options of the runs of one call, with the switch that ends them.
pub(super) struct Stop {
    /// Asks for the one output that is read, so that the graph computes no other.
    pub(super) options: RunOptions<HasSelectedOutputs>,
}

/// The switch alone, for the watching thread.
struct Switch<'a>(&'a RunOptions<HasSelectedOutputs>);

// SAFETY: `RunOptions` with selected outputs is not `Sync` because such options may own preallocated
// outputs, which two threads could write to. These own none, and the only use of the switch is
// `RunOptionsSetTerminate`, which is made for being called while another thread runs.
unsafe impl Sync for Switch<'_> {}

impl Switch<'_> {
    fn terminate(&self) {
        // It fails only for null options. The run would then end by itself.
        let _ = self.0.terminate();
    }
}

/// Ends the watching thread, after a panic as well: the scope waits for it.
struct Finish<'a> {
    finished: &'a Mutex<bool>,
    changed: &'a Condvar,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

impl Stop {
    /// Options that ask for the output `name`.
    ///
    /// # Errors
    /// ONNX Runtime's own.
    pub(super) fn new(name: &str) -> ort::Result<Self> {
        Ok(Stop { options: RunOptions::new()?.with_outputs(OutputSelector::no_default().with(name)) })
    }

    /// Does `work`, whose runs with [`Stop::options`] end between two operators once `cancel` is set.
    ///
    /// The thread lives as long as the work. If the system gives none the work goes on without:
    /// cancelling is then looked at between the runs only.
    pub(super) fn watch<T>(&self, cancel: &Cancel, work: impl FnOnce() -> T) -> T {
        let (finished, changed) = (Mutex::new(false), Condvar::new());
        let switch = Switch(&self.options);
        let watch = || {
            let mut done = finished.lock().unwrap_or_else(PoisonError::into_inner);
            while !*done {
                if cancel.is_cancelled() {
                    switch.terminate();
                    return;
                }
                done = changed.wait_timeout(done, POLL).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        thread::scope(|scope| {
            let _finish = Finish { finished: &finished, changed: &changed };
            let watcher = thread::Builder::new().name("onnx-cancel".to_owned()).stack_size(64 * 1024);
            let _ = watcher.spawn_scoped(scope, watch);
            work()
        })
    }
}
