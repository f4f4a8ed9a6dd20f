//! The calls that wait for one model, and who of them goes into the next batch.

use super::call::{Item, QueuedCall};
use crate::batch::{PackedBatch, plan_shares};
use crate::cancel::Cancel;

/// The queue of a model. One thread owns it, or several share it under a lock: nothing here waits, or calls a caller.
#[derive(Default)]
pub(super) struct Queue {
    calls: Vec<Waiting>,
    next_number: u64,
    /// Batches so far.
    tick: u64,
}

struct Waiting {
    number: u64,
    call: QueuedCall,
    /// The batch that served it last; a call that was not served yet counts as served by the one
    /// before it came, and then comes before those that really were.
    served: u64,
    newcomer: bool,
}

/// What runs at once.
pub(super) struct Batch {
    pub(super) packed: PackedBatch,
    /// One a sequence, in order; those of a call stand together.
    pub(super) items: Vec<Item>,
    /// Raised when nobody wants any of it.
    pub(super) cancel: Cancel,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn push(&mut self, call: QueuedCall) {
        let number = self.next_number;
        self.next_number += 1;
        self.calls.push(Waiting { number, call, served: self.tick, newcomer: true });
    }

    /// Takes out the calls that are over: cancelled, failed, or of an engine that was disposed. They are to be dropped
    /// where nothing is locked: one may be the last to hold the engine, or what a listener holds.
    #[must_use]
    pub(super) fn take_settled(&mut self) -> Vec<QueuedCall> {
        let settled = self.calls.extract_if(.., |waiting| waiting.call.is_over());
        settled.map(|waiting| waiting.call).collect()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut QueuedCall> {
        self.calls.iter_mut().find(|waiting| waiting.number == number).map(|waiting| &mut waiting.call)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<QueuedCall> {
        let index = self.calls.iter().position(|waiting| waiting.number == number)?;
        Some(self.calls.remove(index).call)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = QueuedCall> {
        self.calls.drain(..).map(|waiting| waiting.call)
    }

    /// Fills a batch of at most `budget` tokens; `None` if nothing waits.
    ///
    /// Whoever was served longest ago comes first, and is served whatever the others want: nobody
    /// starves. Newcomers come before those who were served in the batch before: a small call does not
    /// wait for a large one.
    pub(super) fn next_batch(&mut self, budget: usize) -> Option<Batch> {
        self.calls.sort_by_key(|waiting| (waiting.served, !waiting.newcomer, waiting.number));
        let lengths: Vec<&[u32]> = self.calls.iter().map(|waiting| waiting.call.waiting()).collect();
        let shares = plan_shares(budget, &lengths);
        if shares.is_empty() {
            return None;
        }
        self.tick += 1;
        let mut packed = PackedBatch::new();
        let mut items = Vec::new();
        let mut stops = Vec::with_capacity(shares.len());
        for share in shares {
            let Waiting { number, call, served, newcomer } = &mut self.calls[share.call];
            (*served, *newcomer) = (self.tick, false);
            stops.push(call.stop().clone());
            for _ in 0..share.sequences {
                if let Some((sequence, item)) = call.take(*number) {
                    packed.push(&sequence.ids, sequence.spans.as_slice(), call.task_id());
                    items.push(item);
                }
            }
        }
        Some(Batch { packed, items, cancel: Cancel::all(&stops) })
    }
}

impl Batch {
    /// The items of each call.
    pub(super) fn by_call(&self) -> impl Iterator<Item = &[Item]> {
        self.items.chunk_by(|a, b| a.call == b.call)
    }

    /// The two halves of a batch, by number of sequences; `None` if it has only one.
    pub(super) fn halves(&self) -> Option<[Batch; 2]> {
        let middle = self.items.len() / 2;
        (middle > 0).then(|| [self.part(0, middle), self.part(middle, self.items.len())])
    }

    fn part(&self, from: usize, to: usize) -> Batch {
        let packed = self.packed.part(from..to);
        Batch { packed, items: self.items[from..to].to_vec(), cancel: self.cancel.clone() }
    }
}
