//! Files that are stored together, and the texts that are embedded for them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use embedding_engine::engine::{Event, OnEvent};
use embedding_engine::{Cancel, Code, Error, Result};
use rusqlite::Connection;

use super::prepare::Prepared;
use crate::embedder::{Embedded, Embedder, Purpose};
use crate::event::{IndexEvent, Reporter};
use crate::recipe::Cut;
use crate::store::{Failure, NewChunk, NewFile, Writer, has_vector, immediate};

/// A batch is full with so many texts to embed, or so many bytes of them, or so many files.
const TEXTS: usize = 256;
const TEXT_BYTES: usize = 256 * 1024;
const FILES: usize = 512;

/// Calls to the model at a time: while one is stored, the next is computed.
const IN_FLIGHT: usize = 2;

type Hash = [u8; 16];

/// What it was that is now stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) last_file: Option<String>,
    pub(super) files: usize,
    pub(super) chunks: u64,
    pub(super) embedded: u64,
    pub(super) tokens: u64,
}

#[derive(Default)]
struct Batch {
    same: Vec<NewFile>,
    files: Vec<(NewFile, Vec<NewChunk>)>,
    hashes: Vec<Hash>,
    texts: Vec<String>,
    bytes: usize,
}

struct Flight {
    batch: Batch,
    /// Nothing to compute: nothing to wait for.
    result: Option<Receiver<Result<Embedded>>>,
}

/// Takes prepared files in order, has their texts embedded, stores them in order.
pub(super) struct Pipeline<'p> {
    pub(super) connection: &'p Connection,
    pub(super) failure: &'p Failure,
    pub(super) embedder: &'p dyn Embedder,
    pub(super) cancel: &'p Cancel,
    pub(super) reporter: &'p Reporter,
    pub(super) space: i64,
    pub(super) space_name: &'p str,
    pub(super) dimensions: usize,
    open: Batch,
    flights: VecDeque<Flight>,
    /// Texts that are on their way.
    planned: HashSet<Hash>,
    /// Texts in which the model finds nothing to read: their chunks are left out.
    blank: HashSet<Hash>,
    /// Texts that the model is done with, for progress.
    computed: Arc<AtomicUsize>,
}

impl<'p> Pipeline<'p> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        connection: &'p Connection,
        failure: &'p Failure,
        embedder: &'p dyn Embedder,
        cancel: &'p Cancel,
        reporter: &'p Reporter,
        space: (i64, &'p str),
        dimensions: usize,
    ) -> Self {
        Pipeline {
            connection,
            failure,
            embedder,
            cancel,
            reporter,
            space: space.0,
            space_name: space.1,
            dimensions,
            open: Batch::default(),
            flights: VecDeque::new(),
            planned: HashSet::new(),
            blank: HashSet::new(),
            computed: Arc::default(),
        }
    }

    /// Takes a file; tells what was stored meanwhile.
    pub(super) fn push(&mut self, prepared: Prepared, stored: &mut dyn FnMut(Stored)) -> Result<()> {
        match prepared {
            Prepared::Same { file } => self.open.same.push(file),
            Prepared::New { file, cuts } => {
                let mut chunks = Vec::with_capacity(cuts.len());
                for Cut { chunk, text } in cuts {
                    if self.needs_vector(&chunk.hash)? {
                        self.planned.insert(chunk.hash);
                        self.open.hashes.push(chunk.hash);
                        self.open.bytes += text.len();
                        self.open.texts.push(text);
                    }
                    chunks.push(chunk);
                }
                self.open.files.push((file, chunks));
            }
        }
        let Batch { same, files, texts, bytes, .. } = &self.open;
        if texts.len() >= TEXTS || *bytes >= TEXT_BYTES || same.len() + files.len() >= FILES {
            self.send();
        }
        while self.flights.len() > IN_FLIGHT {
            self.land(stored)?;
        }
        Ok(())
    }

    /// Stores what is left.
    pub(super) fn finish(&mut self, stored: &mut dyn FnMut(Stored)) -> Result<()> {
        self.send();
        while !self.flights.is_empty() {
            self.land(stored)?;
        }
        Ok(())
    }

    fn needs_vector(&self, hash: &Hash) -> Result<bool> {
        if self.planned.contains(hash) || self.blank.contains(hash) {
            return Ok(false);
        }
        has_vector(self.connection, self.space, hash).map(|has| !has).map_err(|error| self.failure.of(error))
    }

    /// Hands the open batch over to the model.
    fn send(&mut self) {
        let batch = std::mem::take(&mut self.open);
        if batch.same.is_empty() && batch.files.is_empty() {
            return;
        }
        let result = (!batch.texts.is_empty()).then(|| self.embed(batch.texts.clone()));
        self.flights.push_back(Flight { batch, result });
    }

    fn embed(&self, texts: Vec<String>) -> Receiver<Result<Embedded>> {
        let (sender, receiver) = channel();
        let done = Box::new(move |result| {
            // Nobody waits after an error of another batch.
            let _ = sender.send(result);
        });
        let progress = Some(self.progress());
        self.embedder.embed(Purpose::Document, texts, Some(self.space_name), self.cancel, progress, done);
        receiver
    }

    /// Adds up what the calls tell.
    fn progress(&self) -> OnEvent {
        let (reporter, computed, told) = (self.reporter.clone(), Arc::clone(&self.computed), AtomicUsize::new(0));
        Arc::new(move |event| match event {
            Event::Embedding { done, tokens_per_second, .. } => {
                let more = done.saturating_sub(told.fetch_max(done, Ordering::Relaxed));
                let done = computed.fetch_add(more, Ordering::Relaxed) + more;
                reporter.send(IndexEvent::Embedding { done, tokens_per_second });
            }
            // The model was loaded before the first batch.
            Event::Ready { .. } | Event::Loading { .. } => {}
            event => reporter.send(IndexEvent::Engine(event)),
        })
    }

    /// Stores the oldest batch.
    fn land(&mut self, stored: &mut dyn FnMut(Stored)) -> Result<()> {
        let Some(Flight { mut batch, result }) = self.flights.pop_front() else { return Ok(()) };
        let (vectors, tokens) = match result {
            None => (Vec::new(), 0),
            Some(result) => self.vectors(&mut batch, result)?,
        };
        self.cancel.check()?;
        for hash in &batch.hashes {
            self.planned.remove(hash);
        }
        if !self.blank.is_empty() {
            for (_, chunks) in &mut batch.files {
                chunks.retain(|chunk| !self.blank.contains(&chunk.hash));
            }
        }
        self.store(&batch, &vectors)?;
        let embedded = batch.hashes.len() as u64;
        let Batch { same, files, .. } = batch;
        stored(Stored {
            last_file: files.last().map(|(file, _)| file.path.clone()),
            files: same.len() + files.len(),
            chunks: files.iter().map(|(_, chunks)| chunks.len() as u64).sum(),
            embedded,
            tokens,
        });
        Ok(())
    }

    /// Waits for the vectors of a batch. Texts that are blank to the model are taken out of it.
    fn vectors(&mut self, batch: &mut Batch, result: Receiver<Result<Embedded>>) -> Result<(Vec<f32>, u64)> {
        let mut result = result;
        loop {
            let ended = || Err(Error::internal("A call to the model ended without a result."));
            match result.recv().unwrap_or_else(|_| ended()) {
                Ok(embedded) => return self.checked(batch, embedded),
                Err(error) if error.code == Code::EmptyText => {
                    let index = error.details.get("index").and_then(serde_json::Value::as_u64);
                    let Some(index) = index.map(|index| index as usize).filter(|index| *index < batch.texts.len())
                    else {
                        return Err(error);
                    };
                    batch.texts.remove(index);
                    let hash = batch.hashes.remove(index);
                    self.planned.remove(&hash);
                    self.blank.insert(hash);
                    if batch.texts.is_empty() {
                        return Ok((Vec::new(), 0));
                    }
                    result = self.embed(batch.texts.clone());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn checked(&self, batch: &Batch, embedded: Embedded) -> Result<(Vec<f32>, u64)> {
        let Embedded { vectors, dimensions, tokens, .. } = embedded;
        if dimensions != self.dimensions || vectors.len() != batch.hashes.len() * dimensions {
            return Err(Error::internal(format!(
                "{} texts gave {} components where {} were expected. Please report this.",
                batch.hashes.len(),
                vectors.len(),
                batch.hashes.len() * self.dimensions
            )));
        }
        Ok((vectors, tokens))
    }

    fn store(&self, batch: &Batch, vectors: &[f32]) -> Result<()> {
        immediate(self.connection, self.failure, self.cancel, |transaction| {
            let mut writer = Writer::new(transaction, self.space)?;
            for (hash, vector) in batch.hashes.iter().zip(vectors.chunks_exact(self.dimensions.max(1))) {
                writer.vector(hash, vector)?;
            }
            for (file, chunks) in &batch.files {
                writer.replace(file, chunks)?;
            }
            for file in &batch.same {
                writer.touch(&file.path, file.size, file.modified)?;
            }
            if batch.files.is_empty() { Ok(()) } else { writer.finish() }
        })
    }
}

/// Paths that are stored, and no longer there.
pub(super) fn vanished<T>(known: &HashMap<String, T>, seen: &HashSet<String>) -> Vec<String> {
    let mut paths: Vec<String> = known.keys().filter(|path| !seen.contains(*path)).cloned().collect();
    paths.sort_unstable();
    paths
}
