//! A call in the queue of its model: what it still wants, and what it has got.

use std::sync::Arc;
use std::time::Instant;

use super::Inner;
use super::event::Event;
use super::gauge::Reservation;
use super::models::LoadedModel;
use super::output::{EmbedOutput, ModelReport};
use super::reporter::Reporter;
use super::sequences::{Sequence, Sequences, Spans};
use super::settle::Settle;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::finish::{Finish, Vectors, finish};

/// A call that is ready to be computed. Lives on its model's thread from then on.
pub(super) struct QueuedCall {
    parts: CallParts,
    /// Lengths of `work.sequences`, for the plan.
    lengths: Vec<u32>,
    /// Sequences that were taken into batches.
    taken: usize,
    vectors: Option<Vectors>,
    /// Sequences that came back, texts and tokens of them.
    sequences_done: usize,
    texts_done: usize,
    tokens_done: u64,
    tokens_total: u64,
    started: Option<Instant>,
}

/// A sequence of a batch: whose it is, and where its rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// The call, by its number in the queue.
    pub(super) call: u64,
    row: u32,
    /// Rows of the result: one, or as many as there are chunks.
    pub(super) rows: u32,
    texts: u32,
    tokens: u32,
}

/// What a call comes into the queue with.
pub(super) struct CallParts {
    pub(super) settle: Arc<Settle<EmbedOutput>>,
    pub(super) reservation: Arc<Reservation>,
    pub(super) finish: Finish,
    /// The model's own number for the task (Jina v3).
    pub(super) task_id: Option<i64>,
    pub(super) report: ModelReport,
    pub(super) space: String,
    pub(super) work: Sequences,
    /// Held so that the model is not unloaded, nor the engine disposed, because nobody else holds them.
    pub(super) model: Arc<LoadedModel>,
    pub(super) engine: Arc<Inner>,
}

impl QueuedCall {
    pub(super) fn new(parts: CallParts) -> Self {
        QueuedCall {
            lengths: parts.work.sequences.iter().map(|sequence| sequence.ids.len() as u32).collect(),
            taken: 0,
            vectors: None,
            sequences_done: 0,
            texts_done: 0,
            tokens_done: 0,
            tokens_total: parts.work.tokens(),
            started: None,
            parts,
        }
    }

    /// Raised when the call is over.
    pub(super) fn stop(&self) -> &Cancel {
        self.parts.settle.stop()
    }

    /// Whether the caller was told how it ended.
    pub(super) fn is_over(&self) -> bool {
        self.parts.settle.is_over()
    }

    /// Tells the events of the call.
    pub(super) fn reporter(&self) -> &Reporter {
        self.parts.settle.reporter()
    }

    /// The model's own number for the task.
    pub(super) fn task_id(&self) -> Option<i64> {
        self.parts.task_id
    }

    /// Lengths of the sequences that were not taken yet.
    pub(super) fn waiting(&self) -> &[u32] {
        &self.lengths[self.taken..]
    }

    /// Takes the next sequence.
    pub(super) fn take(&mut self, number: u64) -> Option<(Sequence, Item)> {
        let place = self.parts.work.sequences.get_mut(self.taken)?;
        self.taken += 1;
        self.started.get_or_insert_with(Instant::now);
        let (row, texts) = (place.row, place.texts);
        let taken = Sequence { ids: std::mem::take(&mut place.ids), spans: place.spans.clone(), row, texts };
        let (rows, tokens) = (taken.spans.as_slice().len() as u32, taken.ids.len() as u32);
        self.parts.reservation.release(u64::from(tokens));
        Some((taken, Item { call: number, row, rows, texts, tokens }))
    }

    /// Takes in the computed `rows` of `items`; whether the call is complete. Its progress waits for
    /// [`Reporter::tell`].
    ///
    /// # Errors
    /// `NON_FINITE` with the index of the text or chunk; `OUT_OF_MEMORY` if the result has no room.
    pub(super) fn receive(&mut self, items: &[Item], rows: &[f32], width: usize) -> Result<bool> {
        let CallParts { finish: how, work, .. } = &self.parts;
        let finished = finish(rows, width, *how).map_err(|error| self.name_row(error, items))?;
        let (precision, dimensions) = (how.precision, how.dimensions);
        let elements = precision.elements(dimensions);
        let vectors = match &mut self.vectors {
            Some(vectors) => vectors,
            None => self.vectors.insert(Vectors::zeroed(precision, work.rows, dimensions)?),
        };
        let mut from = 0;
        for item in items {
            for offset in 0..item.rows {
                for to in work.rows_like(item.row + offset) {
                    vectors.copy_row(to, &finished, from, elements)?;
                }
                from += 1;
            }
            self.sequences_done += 1;
            self.texts_done += item.texts as usize;
            self.tokens_done += u64::from(item.tokens);
        }
        self.report_progress();
        Ok(self.sequences_done == self.lengths.len())
    }

    /// An error about a row of a batch becomes one about a row of the call.
    fn name_row(&self, error: Error, items: &[Item]) -> Error {
        let Some(mut row) = error.details.get("index").and_then(serde_json::Value::as_u64) else { return error };
        let batch_row = row;
        let chunked = self.parts.work.sequences.iter().any(|sequence| matches!(sequence.spans, Spans::Chunks(_)));
        let unit = if chunked { "chunk" } else { "text" };
        for item in items {
            if row < u64::from(item.rows) {
                let row = u64::from(item.row) + row;
                let message = error.message.replace(&format!("row {batch_row}"), &format!("{unit} {row}"));
                return Error { message, ..error }.with("index", row);
            }
            row -= u64::from(item.rows);
        }
        error
    }

    fn report_progress(&self) {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let tokens_per_second = self.tokens_done as f64 / seconds.max(1e-6);
        self.reporter().put(Event::Embedding {
            done: self.texts_done,
            total: self.parts.work.texts(),
            tokens_per_second,
            eta_seconds: (self.tokens_total - self.tokens_done) as f64 / tokens_per_second,
        });
    }

    /// Tells the caller the result. Not under a lock.
    pub(super) fn complete(self) {
        let QueuedCall { parts: CallParts { settle, finish, report, space, work, model, engine, .. }, vectors, .. } =
            self;
        let empty = || Vectors::zeroed(finish.precision, work.rows, finish.dimensions);
        let output = vectors.map_or_else(empty, Ok).map(|vectors| EmbedOutput {
            vectors,
            dimensions: finish.dimensions,
            tokens_per_text: work.tokens_per_text,
            truncated: work.truncated,
            model: report,
            space,
        });
        end(&settle, output, model, engine);
    }

    /// Tells the caller that the call failed. Not under a lock.
    pub(super) fn fail(self, error: Error) {
        let CallParts { settle, model, engine, .. } = self.parts;
        end(&settle, Err(error), model, engine);
    }
}

fn end(settle: &Arc<Settle<EmbedOutput>>, result: Result<EmbedOutput>, model: Arc<LoadedModel>, engine: Arc<Inner>) {
    // Before the caller is told: what it does next must find the model idle.
    drop(model);
    // Until the caller was told: the engine may end with its last call.
    settle.finish_holding(result, engine);
}
