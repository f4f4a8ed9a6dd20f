//! Several batches of one model at once, for a backend that has several devices, or that makes the next batch
//! ready while one runs.
//!
//! The model's own thread takes in commands. Each lane is a thread that takes the next batch out of the queue,
//! waits for the backend, and hands out the rows. Callers are told when the queue is free again: a listener that takes
//! long holds up its own lane, not the others.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::loader::Weights;
use super::outcome::Outcome;
use super::queue::{Batch, Queue};
use super::worker::{Command, Worker, rows};
use crate::error::Code;
use crate::sync::{catch, lock};

struct Shared {
    state: Mutex<State>,
    /// Something was put into the queue, or it is time to leave.
    changed: Condvar,
}

struct State {
    queue: Queue,
    leaving: bool,
}

/// What all lanes share.
#[derive(Clone, Copy)]
struct Lane<'a> {
    shared: &'a Shared,
    weights: &'a Weights,
    width: usize,
    /// Tokens of a batch as the options say, or as the model began with.
    budget: usize,
    fixed: bool,
}

/// Works until it is stopped, unloaded, or forgotten by all.
pub(super) fn run(mut worker: Worker) {
    let shared =
        Shared { state: Mutex::new(State { queue: Queue::default(), leaving: false }), changed: Condvar::new() };
    let weights = Arc::clone(&worker.weights);
    let lane = Lane {
        shared: &shared,
        weights: &weights,
        width: worker.width,
        budget: worker.budget,
        fixed: worker.budget_is_fixed,
    };
    let last_used = worker.last_used.clone();
    std::thread::scope(|scope| {
        let mut lanes = 0;
        for _ in 0..weights.backend.lanes() {
            let last_used = last_used.clone();
            let work = move || {
                while let Some(batch) = lane.take() {
                    lane.compute(&batch);
                    last_used.touch();
                }
            };
            let thread = std::thread::Builder::new().name("embedding-lane".to_owned());
            lanes += usize::from(thread.spawn_scoped(scope, work).is_ok());
        }
        while let Some(command) = worker.wait() {
            match command {
                Command::Submit(call) if lanes == 0 => call.fail(no_threads()),
                Command::Submit(call) => lock(&shared.state).queue.push(*call),
                Command::Stop => break,
            }
            shared.changed.notify_all();
        }
        lock(&shared.state).leaving = true;
        shared.changed.notify_all();
    });
}

fn no_threads() -> crate::Error {
    crate::Error::new(Code::OutOfMemory, "The system gives no thread to compute with. Close other programs.")
}

impl Lane<'_> {
    /// The next batch; waits for it. `None` to leave.
    fn take(&self) -> Option<Batch> {
        let mut state = lock(&self.shared.state);
        loop {
            if state.leaving {
                return None;
            }
            let settled = state.queue.take_settled();
            if !settled.is_empty() {
                drop(state);
                drop(settled);
                state = lock(&self.shared.state);
                continue;
            }
            let budget = match self.weights.backend.tokens_per_batch() {
                Some(tokens) if !self.fixed => tokens,
                _ => self.budget,
            };
            let queue = &mut state.queue;
            match catch("scheduling", || Ok(queue.next_batch(budget))) {
                Ok(Some(batch)) => return Some(batch),
                Ok(None) => state = self.wait(state),
                Err(error) => {
                    let failed: Vec<_> = state.queue.drain().collect();
                    drop(state);
                    failed.into_iter().for_each(|call| call.fail(error.clone()));
                    state = lock(&self.shared.state);
                }
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Worker`] does it: what does not fit is tried again in halves, so that only the texts that are too
    /// long fail. Smaller batches are learnt by the backend.
    fn compute(&self, batch: &Batch) {
        if batch.cancel.is_cancelled() {
            return;
        }
        let result = rows(self.weights, self.width, batch, |run| run());
        let notices = || self.weights.backend.notices();
        let (outcome, halves) = Outcome::of(&mut lock(&self.shared.state).queue, batch, result, notices);
        outcome.tell();
        halves.iter().flatten().for_each(|half| self.compute(half));
    }
}
