//! Work that can be cancelled at any moment, although ONNX Runtime looks up only between operators.
//!
//! The work is done on a thread of its own while the caller waits. When the call is cancelled the run
//! is told to end; if an operator takes long (one over a text of 8,192 tokens can take seconds) the
//! caller leaves without it. The thread then ends with the operator, gives the session back and is gone.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions};

use super::exclusive::POLL;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};

/// How long a cancelled call waits for its run to end by itself. With [`POLL`] it leaves room within
/// the 200 ms that cancelling may take.
const GRACE: Duration = Duration::from_millis(100);

/// Options of the runs of one call, with the switch that ends them.
pub(super) struct Stop {
    options: RunOptions<HasSelectedOutputs>,
}

// SAFETY: `RunOptions` with selected outputs is not `Sync` because such options may own preallocated
// outputs, which two threads could write to. These own none. All that is done with them is running,
// by one thread, and `RunOptionsSetTerminate`, which is made for being called while a run is under way.
unsafe impl Sync for Stop {}

impl Stop {
    /// Options that ask for the output `name` only, so that the graph computes no other.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub(super) fn new(name: &str) -> Result<Self> {
        let options = RunOptions::new().map_err(|error| Error::internal(error.to_string()))?;
        Ok(Stop { options: options.with_outputs(OutputSelector::no_default().with(name)) })
    }

    /// What the runs take.
    pub(super) fn options(&self) -> &RunOptions<HasSelectedOutputs> {
        &self.options
    }

    fn terminate(&self) {
        // It fails only for null options. The run would then end by itself.
        let _ = self.options.terminate();
    }
}

/// Does `work` on a thread of its own and waits for it, or until `cancel` is set. The runs of the work
/// take the options of `stop`, and it looks at `cancel` between them.
///
/// A panic of the work goes on in the caller.
///
/// # Errors
/// Those of the work; `ABORTED` at most 200 ms after `cancel` was set, whatever the work does;
/// `OUT_OF_MEMORY` if the system gives no thread.
pub(super) fn cancellable<T: Send + 'static>(
    cancel: &Cancel,
    stop: Stop,
    work: impl FnOnce(&Stop, &Cancel) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = sync_channel(1);
    let stop = Arc::new(stop);
    let (theirs, flag) = (Arc::clone(&stop), cancel.clone());
    let job = move || {
        // Nobody listens any more if the caller left.
        let _ = sender.send(work(&theirs, &flag));
    };
    let thread = thread::Builder::new()
        .name("onnx-run".to_owned())
        .spawn(job)
        .map_err(|error| Error::new(Code::OutOfMemory, format!("The system gives no thread for a run: {error}")))?;
    let mut leave_at: Option<Instant> = None;
    loop {
        match receiver.recv_timeout(POLL) {
            // A terminated run fails like any other.
            Ok(Err(_)) if cancel.is_cancelled() => return Err(Error::aborted()),
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                let panicked = thread.join().err();
                return panicked
                    .map_or_else(|| Err(Error::internal("the run gave no result")), |panic| resume_unwind(panic));
            }
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => {
                stop.terminate();
                if Instant::now() >= *leave_at.get_or_insert_with(|| Instant::now() + GRACE) {
                    return Err(Error::aborted());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
