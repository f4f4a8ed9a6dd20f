//! Texts on their way to a model, and how far they are.

use std::time::{Duration, Instant};

use embedding_engine::engine::{Event, OnEvent};
use embedding_engine::model::Task;
use embedding_engine::{Cancel, Code, Error, Result};

use super::model::{Rows, VectorModel};

/// Texts that are embedded in one call: enough for full batches, few enough to stop soon.
const TEXTS: usize = 512;
/// Bytes of texts that are embedded in one call.
const BYTES: usize = 1 << 20;

/// Between two events of progress: ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// Texts until there are enough for a call, and the vectors so far.
pub(super) struct Batch {
    task: Task,
    texts: Vec<String>,
    bytes: usize,
    rows: Rows,
}

impl Batch {
    pub(super) fn new(task: Task) -> Self {
        Batch { task, texts: Vec::new(), bytes: 0, rows: Rows::default() }
    }

    pub(super) fn push(
        &mut self,
        text: String,
        model: &mut dyn VectorModel,
        cancel: &Cancel,
        progress: &mut Progress,
    ) -> Result<()> {
        self.bytes += text.len();
        self.texts.push(text);
        if self.texts.len() >= TEXTS || self.bytes >= BYTES { self.embed(model, cancel, progress) } else { Ok(()) }
    }

    fn embed(&mut self, model: &mut dyn VectorModel, cancel: &Cancel, progress: &mut Progress) -> Result<()> {
        cancel.check()?;
        let texts = std::mem::take(&mut self.texts);
        self.bytes = 0;
        let (count, before) = (texts.len(), self.rows.len());
        progress.begin();
        let rows = model.embed(texts, self.task).map_err(|error| self.of_all(error, before))?;
        if rows.len() != count {
            return Err(Error::internal(format!("There are {} vectors of {count} texts.", rows.len())));
        }
        self.rows.append(&rows).map_err(|error| error.with("from", before))?;
        progress.add(count, model.tokens());
        Ok(())
    }

    /// The engine counts texts from the first one of its call.
    fn of_all(&self, error: Error, before: usize) -> Error {
        let index = error.details.get("index").and_then(serde_json::Value::as_u64);
        let Some(index) = index.filter(|_| error.code == Code::EmptyText) else { return error };
        let index = before + index as usize;
        let what = if self.task == Task::Query { "Query" } else { "Document" };
        let message = format!("{what} {index}, counted from 0, has nothing that the model can read. Leave it out.");
        Error { message, ..error }.with("index", index)
    }

    pub(super) fn finish(
        mut self,
        model: &mut dyn VectorModel,
        cancel: &Cancel,
        progress: &mut Progress,
    ) -> Result<Rows> {
        if !self.texts.is_empty() {
            self.embed(model, cancel, progress)?;
        }
        Ok(self.rows)
    }
}

/// Tells how far the whole evaluation is.
pub(super) struct Progress {
    target: Option<OnEvent>,
    done: usize,
    total: usize,
    began: Option<Instant>,
    told: Option<Instant>,
}

impl Progress {
    pub(super) fn new(target: Option<OnEvent>, total: usize) -> Self {
        Progress { target, done: 0, total, began: None, told: None }
    }

    fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// `tokens` of all texts so far.
    fn add(&mut self, texts: usize, tokens: u64) {
        self.done += texts;
        let Some(target) = &self.target else { return };
        let now = Instant::now();
        let began = self.began.unwrap_or(now);
        if self.done < self.total && self.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return;
        }
        self.told = Some(now);
        let seconds = now.duration_since(began).as_secs_f64();
        let rate = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let left = self.total.saturating_sub(self.done) as f64;
        let texts_per_second = rate(self.done as f64);
        target(Event::Embedding {
            done: self.done,
            total: self.total,
            tokens_per_second: rate(tokens as f64),
            eta_seconds: if texts_per_second > 0.0 { left / texts_per_second } else { 0.0 },
        });
    }
}
