//! Running a packed batch: rectangles in, pooled rows out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use ort::session::Session;

use super::exclusive::Exclusive;
use super::inputs::Inputs;
use super::message::{is_of_device, is_out_of_bounds, is_out_of_memory, tidy};
use super::outputs::{Level, Output, Values};
use super::rectangles::{Limits, Rectangle, rectangles};
use super::worker::{Stop, cancellable};
use crate::backend::pool::pool_rows;
use crate::backend::{Backend, BackendInfo};
use crate::batch::{PackedBatch, Span};
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::model::Pooling;

/// A graph in a session, shared with the thread of a run.
pub(super) struct OnnxBackend(pub(super) Arc<Runner>);

/// What a run needs to know.
pub(super) struct Runner {
    pub(super) info: BackendInfo,
    /// For messages.
    pub(super) file: PathBuf,
    pub(super) inputs: Inputs,
    pub(super) output: Output,
    pub(super) pooling: Pooling,
    pub(super) limits: Limits,
    /// Ids are below it, where that is known. Not every provider refuses others.
    pub(super) vocabulary: Option<usize>,
    /// Tokens that a text may have, where the tables of a written graph end.
    pub(super) longest: Option<usize>,
    pub(super) session: Exclusive<Session>,
}

impl Backend for OnnxBackend {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    /// A call that is cancelled ends within 200 ms, whatever the length of the texts. ONNX Runtime
    /// itself stops between two operators; until then the next call waits for the session.
    ///
    /// # Errors
    /// Besides those of the trait: `TEXT_TOO_LONG` where the graph fixes the length of its rows,
    /// `MODEL_UNSUPPORTED` for spans within a text where the graph pools by itself, `BAD_CHECKPOINT`
    /// for an id that the graph's vocabulary does not have.
    fn run(&self, batch: &PackedBatch, cancel: &Cancel) -> Result<Vec<f32>> {
        cancel.check()?;
        let wanted = self.0.check(batch)?;
        if batch.spans.is_empty() {
            return Ok(Vec::new());
        }
        let (runner, batch) = (Arc::clone(&self.0), batch.clone());
        let stop = Stop::new(&runner.output.name)?;
        cancellable(cancel, stop, move |stop, cancel| runner.run_batch(&batch, &wanted, stop, cancel))
    }
}

/// One run within a batch.
struct Run<'a> {
    batch: &'a PackedBatch,
    task: Option<i64>,
    /// The sequences, by index.
    texts: &'a [usize],
    /// Length that all are padded to.
    tokens: usize,
    /// Output rows of every sequence of the batch.
    wanted: &'a [Vec<usize>],
}

impl Runner {
    /// Makes sure that the batch is sound and that the graph can run it; gives the output rows of
    /// each sequence.
    fn check(&self, batch: &PackedBatch) -> Result<Vec<Vec<usize>>> {
        let sequences = batch.sequences();
        if self.inputs.has_task && batch.task_ids.len() != sequences {
            let given = batch.task_ids.len();
            return Err(Error::internal(format!("{given} task ids for {sequences} sequences")));
        }
        if let Some(id) = self.vocabulary.and_then(|rows| batch.ids.iter().find(|&&id| id as usize >= rows)) {
            let message = format!("the tokenizer gives the id {id}, which the table of embeddings has no row for");
            return Err(Error::bad_checkpoint(&self.file, message));
        }
        if let Some(longest) = self.longest
            && let Some(length) = (0..sequences).map(|text| batch.len_of(text)).find(|&length| length > longest)
        {
            return Err(Error::internal(format!("a text of {length} tokens for a graph of up to {longest}")));
        }
        let mut wanted = vec![Vec::new(); sequences];
        for (row, span) in batch.spans.iter().enumerate() {
            let sequence = span.sequence as usize;
            let Some(rows) = wanted.get_mut(sequence) else {
                return Err(Error::internal(format!("span {row} is of sequence {sequence} of {sequences}")));
            };
            let length = batch.len_of(sequence);
            if span.start >= span.end || span.end as usize > length {
                let (start, end) = (span.start, span.end);
                return Err(Error::internal(format!("span {row} is {start}..{end} of {length} tokens")));
            }
            if self.output.level == Level::Texts && range(span).len() != length {
                return Err(Error::unsupported(format!(
                    "{}: the graph pools whole texts by itself (output {}), so that neither parts of a text \
                     (late chunking) nor a text without its prompt can be pooled. Use an export with a \
                     token-level output such as last_hidden_state.",
                    self.file.display(),
                    self.output.name
                )));
            }
            if let Some(limit) = self.limits.tokens.filter(|&limit| length > limit) {
                let message = format!(
                    "A text has {length} tokens, but {} takes exactly {limit}. Set maxTokens to {limit} for \
                     this model in modelDefaults, or use an export with a free sequence length.",
                    self.file.display()
                );
                return Err(Error::new(Code::TextTooLong, message).with("tokens", length).with("limit", limit));
            }
            rows.push(row);
        }
        Ok(wanted)
    }

    fn run_batch(&self, batch: &PackedBatch, wanted: &[Vec<usize>], stop: &Stop, cancel: &Cancel) -> Result<Vec<f32>> {
        // A row that were never filled would be refused by the final check of the engine.
        let mut rows = vec![f32::NAN; batch.spans.len() * self.info.width];
        let mut session = self.session.take(cancel)?;
        for (task, sequences) in by_task(batch, wanted) {
            let lengths: Vec<_> = sequences.iter().map(|&sequence| batch.len_of(sequence)).collect();
            for Rectangle { texts, tokens } in rectangles(&lengths, self.limits) {
                cancel.check()?;
                let texts: Vec<_> = texts.into_iter().map(|text| sequences[text]).collect();
                let run = Run { batch, task, texts: &texts, tokens, wanted };
                self.run_rectangle(&mut session, stop, &run, &mut rows)?;
            }
        }
        Ok(rows)
    }

    fn run_rectangle(&self, session: &mut Session, stop: &Stop, run: &Run<'_>, rows: &mut [f32]) -> Result<()> {
        let ids: Vec<_> = run.texts.iter().map(|&text| &run.batch.ids[run.batch.range(text)]).collect();
        self.execute(session, stop, &ids, run.tokens, run.task, |values, shape| {
            let width = self.info.width;
            self.expect_shape(shape, run, width)?;
            let (mut scratch, mut pooled) = (Vec::new(), Vec::new());
            for (at, &text) in run.texts.iter().enumerate() {
                pooled.clear();
                match self.output.level {
                    Level::Texts => {
                        let row = values.range(at * width..(at + 1) * width, &mut scratch);
                        run.wanted[text].iter().for_each(|_| pooled.extend_from_slice(row));
                    }
                    Level::Tokens => {
                        let start = at * run.tokens * width;
                        let hidden = values.range(start..start + run.batch.len_of(text) * width, &mut scratch);
                        let spans = run.wanted[text].iter().map(|&row| range(&run.batch.spans[row]));
                        pool_rows(hidden, width, spans, self.pooling, &mut pooled);
                    }
                }
                for (&row, pooled) in run.wanted[text].iter().zip(pooled.chunks_exact(width)) {
                    rows[row * width..(row + 1) * width].copy_from_slice(pooled);
                }
            }
            Ok(())
        })
    }

    fn expect_shape(&self, shape: &[i64], run: &Run<'_>, width: usize) -> Result<()> {
        let rows = self.limits.rows.unwrap_or(run.texts.len());
        let expected = match self.output.level {
            Level::Tokens => vec![rows, run.tokens, width],
            Level::Texts => vec![rows, width],
        };
        if shape.iter().copied().eq(expected.iter().map(|&size| size as i64)) {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "{}: the output {} has shape {shape:?} where {expected:?} was expected.",
            self.file.display(),
            self.output.name
        )))
    }

    /// Runs the rows `ids`, padded to `tokens`, and hands the output to `read`.
    pub(super) fn execute<T>(
        &self,
        session: &mut Session,
        stop: &Stop,
        ids: &[&[u32]],
        tokens: usize,
        task: Option<i64>,
        read: impl FnOnce(&Values<'_>, &[i64]) -> Result<T>,
    ) -> Result<T> {
        let mut ids = ids.to_vec();
        // Rows that only fill up a fixed batch repeat a real one: a row that is masked throughout
        // would be NaN, which some kernels are slow at.
        if let (Some(rows), Some(&filler)) = (self.limits.rows, ids.first()) {
            ids.resize(rows.max(ids.len()), filler);
        }
        let inputs = self.inputs.values(&ids, tokens, task.filter(|_| self.inputs.has_task))?;
        let outputs = session
            .run_with_options(inputs, stop.options())
            .map_err(|error| self.explain(&error, ids.len(), tokens))?;
        let output = outputs
            .get(&self.output.name)
            .ok_or_else(|| Error::internal(format!("the run gave no output {}", self.output.name)))?;
        let (values, shape) = Values::view(output)?;
        read(&values, shape)
    }

    /// What a failed run means.
    fn explain(&self, error: &ort::Error, rows: usize, tokens: usize) -> Error {
        let told = tidy(error.message());
        if is_out_of_memory(told) {
            let message = format!("No memory left for a run of {rows} × {tokens} tokens: {told}");
            return Error::new(Code::OutOfMemory, message).with("tokens", rows * tokens);
        }
        if is_of_device(told) {
            let device = self.info.device.as_str();
            let message = format!(
                "The device {device} failed in a run of {rows} × {tokens} tokens: {told}. Restart the program, or use \
                 device 'cpu'."
            );
            return Error::new(Code::DeviceUnavailable, message).with("device", device);
        }
        if is_out_of_bounds(told) {
            let message = format!("the tokenizer gives ids, or a length, that the graph has no embeddings for: {told}");
            return Error::bad_checkpoint(&self.file, message);
        }
        Error::internal(format!("{}: a run of {rows} × {tokens} tokens failed: {told}", self.file.display()))
    }
}

/// The tokens of a span within its sequence.
fn range(span: &Span) -> Range<usize> {
    span.start as usize..span.end as usize
}

/// The sequences that have output rows, by task: a run has one task.
fn by_task(batch: &PackedBatch, wanted: &[Vec<usize>]) -> BTreeMap<Option<i64>, Vec<usize>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (sequence, _) in wanted.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        groups.entry(batch.task_ids.get(sequence).copied()).or_default().push(sequence);
    }
    groups
}
