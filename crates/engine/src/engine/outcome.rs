//! What a batch came to: rows for each call, and what the callers are told of it.

use super::call::QueuedCall;
use super::event::{Event, Level};
use super::queue::{Batch, Queue};
use super::reporter::Reporter;
use crate::error::{Code, Error, Result};
use crate::sync::catch;

/// What callers are to be told, once nothing is locked: a listener may take long, and a result may be the last that a
/// program waits for.
#[derive(Default)]
#[must_use = "callers wait to be told"]
pub(super) struct Outcome {
    /// Calls that ended, and left the queue.
    ended: Vec<(QueuedCall, Result<()>)>,
    /// Calls with events that were put.
    reporters: Vec<Reporter>,
}

impl Outcome {
    /// Gives each call of a batch its rows of `result`, all of one width, or its failure; calls that have ended leave the
    /// queue. What did not fit into memory comes back in halves, to be tried again, unless it was a single text.
    ///
    /// `notices` takes those of the backend, to be told to a call that it worked for. Where none of them listens any
    /// more the backend keeps them, for the next.
    pub(super) fn of(
        queue: &mut Queue,
        batch: &Batch,
        result: Result<(Vec<f32>, usize)>,
        notices: impl FnOnce() -> Vec<String>,
    ) -> (Self, Option<[Batch; 2]>) {
        let mut outcome = Outcome::default();
        outcome.warn(queue, batch, notices);
        match result {
            Ok((rows, width)) => outcome.deliver(queue, batch, &rows, width),
            Err(error) => match batch.halves() {
                Some(halves) if error.code == Code::OutOfMemory => return (outcome, Some(halves)),
                _ => outcome.fail(queue, batch, &error),
            },
        }
        (outcome, None)
    }

    /// Tells the callers. Not under a lock.
    pub(super) fn tell(self) {
        for (call, result) in self.ended {
            match result {
                Ok(()) => call.complete(),
                Err(error) => call.fail(error),
            }
        }
        self.reporters.iter().for_each(Reporter::tell);
    }

    fn warn(&mut self, queue: &mut Queue, batch: &Batch, notices: impl FnOnce() -> Vec<String>) {
        let mut live = batch.by_call().filter_map(|items| {
            let call = queue.get_mut(items[0].call)?;
            (!call.is_over()).then(|| call.reporter().clone())
        });
        let Some(reporter) = live.next() else { return };
        for message in notices() {
            reporter.put(Event::Notice { level: Level::Warn, message });
        }
        self.reporters.push(reporter);
    }

    fn deliver(&mut self, queue: &mut Queue, batch: &Batch, rows: &[f32], width: usize) {
        let mut rest = rows;
        for items in batch.by_call() {
            let count: usize = items.iter().map(|item| item.rows as usize).sum();
            let (own, others) = rest.split_at(count * width);
            rest = others;
            let number = items[0].call;
            let Some(call) = queue.get_mut(number) else { continue };
            if call.is_over() {
                continue;
            }
            let ended = match catch("finishing vectors", || call.receive(items, own, width)) {
                Ok(false) => {
                    self.reporters.push(call.reporter().clone());
                    continue;
                }
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            self.ended.extend(queue.remove(number).map(|call| (call, ended)));
        }
    }

    fn fail(&mut self, queue: &mut Queue, batch: &Batch, error: &Error) {
        for items in batch.by_call() {
            self.ended.extend(queue.remove(items[0].call).map(|call| (call, Err(error.clone()))));
        }
    }
}
