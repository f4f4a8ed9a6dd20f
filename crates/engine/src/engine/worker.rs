//! The thread of a loaded model: it owns weights and queue, and does one batch after another. A backend that
//! takes several batches at once has a thread for each ([`super::lanes`]).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::call::QueuedCall;
use super::lanes;
use super::loader::Weights;
use super::models::LastUsed;
use super::outcome::Outcome;
use super::queue::{Batch, Queue};
use crate::error::{Error, Result};
use crate::sync::catch;

/// What a model's thread is told.
pub(super) enum Command {
    /// A call wants to be computed.
    Submit(Box<QueuedCall>),
    /// Leave, whatever waits: the calls were told already.
    Stop,
}

/// Asks whether the model may go after having waited in vain; how long to wait next otherwise.
pub(super) type OnIdle = Box<dyn FnMut() -> Idle + Send>;

/// An answer of [`OnIdle`].
pub(super) enum Idle {
    /// The model was taken from the list: leave.
    Unloaded,
    /// Ask again then, if nothing comes; `None` for never.
    Wait(Option<Duration>),
}

pub(super) struct Worker {
    pub(super) weights: Arc<Weights>,
    pub(super) pool: Arc<rayon::ThreadPool>,
    pub(super) commands: Receiver<Command>,
    /// Tokens of a batch. Lowered for good when a batch does not fit into memory.
    pub(super) budget: usize,
    /// Whether the options say so.
    pub(super) budget_is_fixed: bool,
    /// Width of a finished row.
    pub(super) width: usize,
    pub(super) last_used: LastUsed,
    pub(super) on_idle: OnIdle,
}

impl Worker {
    /// Works until it is stopped, unloaded, or forgotten by all.
    pub(super) fn run(mut self) {
        if self.weights.backend.lanes() > 1 {
            return lanes::run(self);
        }
        let mut queue = Queue::default();
        while self.receive(&mut queue) {
            drop(queue.take_settled());
            // The parts catch their own panics; this one is for what is between them.
            let step = catch("scheduling", || {
                if let Some(batch) = queue.next_batch(self.budget) {
                    self.compute(&mut queue, &batch);
                }
                Ok(())
            });
            if let Err(error) = step {
                queue.drain().for_each(|call| call.fail(error.clone()));
            }
        }
    }

    /// Takes in all that has come; waits only while nothing is to be done. `false` to leave.
    fn receive(&mut self, queue: &mut Queue) -> bool {
        loop {
            let command = if queue.is_empty() {
                match self.wait() {
                    Some(command) => command,
                    None => return false,
                }
            } else {
                match self.commands.try_recv() {
                    Ok(command) => command,
                    Err(TryRecvError::Empty) => return true,
                    Err(TryRecvError::Disconnected) => return false,
                }
            };
            match command {
                Command::Submit(call) => queue.push(*call),
                Command::Stop => return false,
            }
        }
    }

    /// Waits for a command; `None` to leave.
    pub(super) fn wait(&mut self) -> Option<Command> {
        self.last_used.touch();
        loop {
            let patience = match (self.on_idle)() {
                Idle::Unloaded => return None,
                Idle::Wait(patience) => patience,
            };
            let received = match patience {
                Some(patience) => self.commands.recv_timeout(patience),
                None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Runs a batch and hands out the rows. What does not fit into memory is tried again in halves,
    /// down to single texts.
    fn compute(&mut self, queue: &mut Queue, batch: &Batch) {
        if batch.cancel.is_cancelled() {
            return;
        }
        let install = |run: &mut (dyn FnMut() -> Result<Vec<f32>> + Send)| self.pool.install(run);
        let result = rows(&self.weights, self.width, batch, install);
        let (outcome, halves) = Outcome::of(queue, batch, result, || self.weights.backend.notices());
        outcome.tell();
        if let Some(halves) = halves {
            self.budget = self.budget.min(batch.packed.tokens().div_ceil(2)).max(1);
            for half in &halves {
                self.compute(queue, half);
            }
        }
    }
}

/// One row a span, after the model's head. `how` calls the backend, which takes it where that is to run.
pub(super) fn rows(
    weights: &Weights,
    expected: usize,
    batch: &Batch,
    how: impl FnOnce(&mut (dyn FnMut() -> Result<Vec<f32>> + Send)) -> Result<Vec<f32>>,
) -> Result<(Vec<f32>, usize)> {
    let Weights { backend, head, .. } = weights;
    let rows = catch("computing", || how(&mut || backend.run(&batch.packed, &batch.cancel)))?;
    let (spans, width) = (batch.packed.spans.len(), backend.info().width);
    check_rows(rows.len(), spans, width)?;
    let (rows, width) = catch("computing the last layers", || head.apply(rows, width))?;
    check_rows(rows.len(), spans, width)?;
    if width != expected {
        return Err(Error::internal(format!("The model gave vectors of width {width} in place of {expected}.")));
    }
    Ok((rows, width))
}

/// As many rows as were asked for, or none: a row too few would give someone else's vector to a text.
fn check_rows(values: usize, rows: usize, width: usize) -> Result<()> {
    if values == rows * width {
        return Ok(());
    }
    Err(Error::internal(format!("The backend gave {values} values in place of {rows} rows of {width}.")))
}
