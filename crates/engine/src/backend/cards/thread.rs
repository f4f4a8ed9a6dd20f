//! The thread of a card: it makes the card, owns it, and is the only one that calls it.
//!
//! Candle and cudarc panic where a driver library lacks a function, and a CUDA context that has failed once fails
//! for ever: every call is made inside of `catch`, and a card that is asked and does not answer is given up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::budget::{Learnt, Limits};
use super::{Card, MakeCard, fitted};
use crate::backend::BackendInfo;
use crate::batch::PackedBatch;
use crate::cancel::{Cancel, Listening};
use crate::error::{Code, Error, Result};
use crate::sync::{catch, lock};

/// A card as others see it.
pub(super) struct CardThread {
    shared: Arc<Shared>,
    told: AtomicBool,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    /// Tokens that wait or run.
    outstanding: AtomicUsize,
    /// Tokens of a batch now.
    budget: AtomicUsize,
    /// Why it is not used any more.
    failure: Mutex<Option<Error>>,
}

/// What became of a batch.
pub(super) enum Answer {
    /// It was run: rows, or an error that is the batch's own.
    Done(Result<Vec<f32>>),
    /// Nobody wants it any more. It may still run for a moment.
    Cancelled,
    /// The card failed, and the batch may run elsewhere.
    CardFailed(Error),
}

/// A batch on its way. Whatever becomes of it, the caller is answered.
struct Job {
    batch: Arc<PackedBatch>,
    cancel: Cancel,
    card: Arc<Shared>,
    answer: Option<Sender<Answer>>,
}

/// A batch that was handed over.
pub(super) struct Waiting {
    answers: Receiver<Answer>,
    _listening: Listening,
}

/// A card that is being made.
pub(super) struct Starting {
    card: CardThread,
    made: Receiver<Result<BackendInfo>>,
}

impl CardThread {
    /// Starts the thread, which makes the card.
    ///
    /// # Errors
    /// `OUT_OF_MEMORY` if the system gives no thread.
    pub(super) fn start(name: String, make: MakeCard, limits: Limits) -> Result<Starting> {
        let shared = Arc::new(Shared {
            name,
            outstanding: AtomicUsize::new(0),
            budget: AtomicUsize::new(1),
            failure: Mutex::new(None),
        });
        let (jobs, receiver) = channel();
        let (tell, made) = channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("embedding-{}", shared.name))
            .spawn(move || {
                let card = match catch("loading a model on a device", make) {
                    Ok(card) => card,
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return;
                    }
                };
                let info = card.info().clone();
                let mut owner = Owner { card: Some(card), learnt: Learnt::default(), limits, shared: theirs };
                owner.publish_budget();
                let _ = tell.send(Ok(info));
                drop(tell);
                for job in receiver {
                    owner.answer(job);
                }
                owner.free();
            })
            .map_err(|error| Error::new(Code::OutOfMemory, format!("The system gives no thread: {error}.")))?;
        let card = CardThread { shared, told: AtomicBool::new(false), jobs: Some(jobs), thread: Some(thread) };
        Ok(Starting { card, made })
    }

    /// As the user names it.
    pub(super) fn name(&self) -> &str {
        &self.shared.name
    }

    /// Tokens that wait or run.
    pub(super) fn outstanding(&self) -> usize {
        self.shared.outstanding.load(Ordering::Acquire)
    }

    /// Tokens of a batch, by the memory that was free last.
    pub(super) fn budget(&self) -> usize {
        self.shared.budget.load(Ordering::Relaxed)
    }

    /// Why the card is not used any more.
    pub(super) fn failure(&self) -> Option<Error> {
        lock(&self.shared.failure).clone()
    }

    /// `true` the first time.
    pub(super) fn first_to_tell(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Puts a batch into the card's queue.
    pub(super) fn submit(&self, batch: &Arc<PackedBatch>, cancel: &Cancel) -> Waiting {
        let (answer, answers) = channel();
        let left = answer.clone();
        let listening = cancel.on_cancel(move || {
            let _ = left.send(Answer::Cancelled);
        });
        self.shared.outstanding.fetch_add(batch.tokens(), Ordering::AcqRel);
        let job = Job {
            batch: Arc::clone(batch),
            cancel: cancel.clone(),
            card: Arc::clone(&self.shared),
            answer: Some(answer),
        };
        if let Some(jobs) = &self.jobs {
            // A thread that is gone gives the job back, which answers for itself.
            let _ = jobs.send(job);
        }
        Waiting { answers, _listening: listening }
    }
}

impl Drop for CardThread {
    /// Waits for the thread, so that the memory of the card is free afterwards.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Starting {
    /// Waits until the card is made.
    ///
    /// # Errors
    /// Why it could not be.
    pub(super) fn wait(self) -> Result<(CardThread, BackendInfo)> {
        let made = self.made.recv();
        let info = made.unwrap_or_else(|_| Err(Error::internal("The thread of a device ended while it loaded.")))?;
        Ok((self.card, info))
    }
}

impl Waiting {
    /// Waits for the answer.
    pub(super) fn wait(self) -> Answer {
        let lost = |_| Answer::CardFailed(Error::internal("The thread of a device gave no answer."));
        self.answers.recv().unwrap_or_else(lost)
    }
}

impl Job {
    fn tell(mut self, answer: Answer) {
        self.finish(answer);
    }

    fn finish(&mut self, answer: Answer) {
        let Some(to) = self.answer.take() else { return };
        self.card.outstanding.fetch_sub(self.batch.tokens(), Ordering::AcqRel);
        // The caller may have left.
        let _ = to.send(answer);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.answer.is_none() {
            return;
        }
        let error = Error::internal("The thread of a device ended.");
        let error = lock(&self.card.failure).get_or_insert(error).clone();
        self.finish(Answer::CardFailed(error));
    }
}

/// The thread's side.
struct Owner {
    card: Option<Box<dyn Card>>,
    learnt: Learnt,
    limits: Limits,
    shared: Arc<Shared>,
}

impl Owner {
    fn answer(&mut self, job: Job) {
        if job.cancel.is_cancelled() {
            return job.tell(Answer::Cancelled);
        }
        let Some(card) = self.card.as_deref_mut() else {
            let failure = lock(&self.shared.failure).clone();
            let failure = failure.unwrap_or_else(|| Error::internal("The device is gone."));
            return job.tell(Answer::CardFailed(failure));
        };
        let (learnt, limits) = (&mut self.learnt, self.limits);
        let result = catch("computing on a device", || fitted::run(card, learnt, limits, &job.batch, &job.cancel));
        let failure = match &result {
            Err(error) if error.code == Code::DeviceUnavailable => Some(error.clone()),
            // Ours, or the device's? It is asked.
            Err(error) if error.code == Code::Internal => {
                catch("asking a device", || card.check()).err().map(|_| error.clone())
            }
            _ => None,
        };
        match failure {
            Some(error) => {
                *lock(&self.shared.failure) = Some(error.clone());
                self.free();
                job.tell(Answer::CardFailed(error));
            }
            None => {
                self.publish_budget();
                job.tell(Answer::Done(result));
            }
        }
    }

    fn publish_budget(&self) {
        let suggested = catch("asking a device for its memory", || {
            Ok(self.card.as_ref().map_or(1, |card| card.footprint().tokens(card.memory(), self.limits)))
        });
        let tokens = self.learnt.apply(suggested.unwrap_or(1));
        self.shared.budget.store(tokens, Ordering::Relaxed);
    }

    /// Frees the model. A device that has failed may panic at that, too.
    fn free(&mut self) {
        let card = self.card.take();
        let _ = catch("freeing a model", || {
            drop(card);
            Ok(())
        });
    }
}
