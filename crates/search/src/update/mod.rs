//! Bringing an index up to date with its folder: only what changed is read, cut, embedded and stored.

mod batch;
mod lock;
mod prepare;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Instant, SystemTime};

use embedding_engine::engine::Event;
use embedding_engine::{Cancel, Error, Result};
use embedding_engine_chunk::{Entry, FileOptions, Files};
use rayon::prelude::*;
use rusqlite::Connection;
use serde::Serialize;

use crate::embedder::{Embedded, Embedder, Purpose};
use crate::event::{IndexEvent, Reporter};
use crate::recipe::RECIPE;
use crate::store::{self, KnownFile, Store, Writer, immediate};
use batch::{Pipeline, Stored, vanished};
use lock::Lock;
use prepare::{Prepared, Stamp, prepare};

/// Files that are read and cut at a time.
const GROUP: usize = 32;

/// Which files of the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateOptions {
    /// Only files whose path matches one of these globs; none: all.
    pub include: Vec<String>,
    /// No file whose path matches one of these.
    pub exclude: Vec<String>,
}

/// What an update did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateReport {
    /// Files in the index now.
    pub files: u64,
    /// Of these, files that were not in it before.
    pub added: u64,
    /// Files whose content was another one.
    pub changed: u64,
    /// Files that were in it, and are not any more.
    pub removed: u64,
    /// Files that are as they were.
    pub unchanged: u64,
    /// Chunks in the index now.
    pub chunks: u64,
    /// Texts that had to be embedded; equal chunks are one text.
    pub embedded: u64,
    /// What the model read for them.
    pub tokens: u64,
    /// Files that have no chunks, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// The space of the vectors.
    pub space: String,
}

/// Brings the index in `store` up to date with `folder`.
pub(crate) fn update(
    folder: &Path,
    store: &Store,
    embedder: &dyn Embedder,
    options: &UpdateOptions,
    cancel: &Cancel,
    reporter: &Reporter,
) -> Result<UpdateReport> {
    let file_options =
        FileOptions { include: options.include.clone(), exclude: options.exclude.clone(), ..FileOptions::default() };
    let files = Files::new(folder, &file_options)
        .map_err(|error| Error::invalid_option("include", format!("include or exclude: {error}.")))?;
    let _lock = Lock::wait(store.path(), cancel, reporter)?;
    let (space, dimensions) = probe(embedder, cancel, reporter)?;
    let connection = store.connection()?;
    let mut run = Run {
        connection: &connection,
        store,
        cancel,
        reporter,
        begin: Instant::now(),
        report: UpdateReport { space: space.clone(), ..UpdateReport::default() },
        done: 0,
        total: 0,
        stored_chunks: 0,
        waiting: 0,
    };
    run.all(files, embedder, &space, dimensions)?;
    let report = run.report;
    store.put_back(connection);
    Ok(report)
}

/// The space of the model, found out by a first text; loads the model.
fn probe(embedder: &dyn Embedder, cancel: &Cancel, reporter: &Reporter) -> Result<(String, usize)> {
    let (sender, receiver) = channel();
    let reporter = reporter.clone();
    let progress = move |event| {
        if !matches!(event, Event::Embedding { .. }) {
            reporter.send(IndexEvent::Engine(event));
        }
    };
    let done = Box::new(move |result| {
        // The receiver waits until this is told.
        let _ = sender.send(result);
    });
    embedder.embed(Purpose::Document, vec!["a".to_owned()], None, cancel, Some(Arc::new(progress)), done);
    let ended = || Err(Error::internal("A call to the model ended without a result."));
    let Embedded { space, dimensions, .. } = receiver.recv().unwrap_or_else(|_| ended())?;
    Ok((space, dimensions))
}

struct Run<'r> {
    connection: &'r Connection,
    store: &'r Store,
    cancel: &'r Cancel,
    reporter: &'r Reporter,
    begin: Instant,
    report: UpdateReport,
    /// Files that are up to date.
    done: usize,
    total: usize,
    stored_chunks: u64,
    /// Files that had to be looked at.
    waiting: usize,
}

impl Run<'_> {
    fn all(&mut self, mut files: Files, embedder: &dyn Embedder, space_name: &str, dimensions: usize) -> Result<()> {
        let failure = self.store.failure();
        let space = immediate(self.connection, &failure, self.cancel, |transaction| {
            store::use_recipe(transaction, RECIPE)?;
            store::use_space(transaction, space_name, dimensions)
        })?;
        let known = store::known_files(self.connection).map_err(|error| failure.of(error))?;
        let (seen, waiting) = self.look(&mut files, &known, space)?;
        self.total = seen.len();
        self.waiting = waiting.len();
        // What is gone goes first: a full disk has room again.
        self.remove(&vanished(&known, &seen), &known, space)?;

        let (cancel, reporter) = (self.cancel, self.reporter);
        let mut pipeline =
            Pipeline::new(self.connection, &failure, embedder, cancel, reporter, (space, space_name), dimensions);
        let mut waiting = waiting.into_iter();
        loop {
            let group: Vec<(Entry, Option<Stamp>)> = waiting.by_ref().take(GROUP).collect();
            if group.is_empty() {
                break;
            }
            cancel.check()?;
            let prepared: Vec<Prepared> =
                group.into_par_iter().map(|(entry, stamp)| prepare(entry, stamp, &known, space)).collect();
            for prepared in prepared {
                self.count(&prepared, &known);
                pipeline.push(prepared, &mut |stored| self.tell(stored))?;
            }
        }
        pipeline.finish(&mut |stored| self.tell(stored))?;
        store::prune(self.connection, &failure, cancel)?;
        let totals = store::totals(self.connection).map_err(|error| failure.of(error))?;
        (self.report.files, self.report.chunks) = (totals.files, totals.chunks);
        Ok(())
    }

    /// The paths of all files, and those that have to be read.
    #[allow(clippy::type_complexity)]
    fn look(
        &mut self,
        files: &mut Files,
        known: &HashMap<String, KnownFile>,
        space: i64,
    ) -> Result<(HashSet<String>, Vec<(Entry, Option<Stamp>)>)> {
        let now = SystemTime::now();
        let (mut seen, mut waiting) = (HashSet::new(), Vec::new());
        while let Some(entry) = files.next_entry() {
            if seen.len().is_multiple_of(256) {
                self.cancel.check()?;
            }
            let stamp = Stamp::of(&entry, now);
            seen.insert(entry.path.clone());
            match (known.get(&entry.path), stamp) {
                (Some(known), Some(stamp)) if stamp.is_that_of(known) && known.skipped.is_some() => {
                    self.skip(known.skipped.clone().unwrap_or_default());
                    self.done += 1;
                }
                (Some(known), Some(stamp)) if stamp.is_that_of(known) && known.space == space => {
                    self.report.unchanged += 1;
                    self.done += 1;
                }
                _ => waiting.push((entry, stamp)),
            }
        }
        Ok((seen, waiting))
    }

    fn remove(&mut self, paths: &[String], known: &HashMap<String, KnownFile>, space: i64) -> Result<()> {
        for paths in paths.chunks(256) {
            self.cancel.check()?;
            immediate(self.connection, &self.store.failure(), self.cancel, |transaction| {
                let mut writer = Writer::new(transaction, space)?;
                for path in paths {
                    writer.remove(path)?;
                }
                writer.finish()
            })?;
            let texts = paths.iter().filter(|path| known.get(*path).is_some_and(|known| known.skipped.is_none()));
            self.report.removed += texts.count() as u64;
        }
        Ok(())
    }

    /// Counts a file for the report.
    fn count(&mut self, prepared: &Prepared, known: &HashMap<String, KnownFile>) {
        let (Prepared::Same { file } | Prepared::New { file, .. }) = prepared;
        let known = known.get(&file.path);
        let was_text = known.is_some_and(|known| known.skipped.is_none());
        if let Some(reason) = &file.skipped {
            self.report.removed += u64::from(was_text);
            return self.skip(reason.clone());
        }
        let same = known.is_some_and(|known| known.hash.is_some() && known.hash == file.hash);
        let count = match (was_text, same) {
            (true, true) => &mut self.report.unchanged,
            (true, false) => &mut self.report.changed,
            (false, _) => &mut self.report.added,
        };
        *count += 1;
    }

    fn skip(&mut self, reason: String) {
        *self.report.skipped.entry(reason).or_default() += 1;
    }

    fn tell(&mut self, stored: Stored) {
        let Stored { last_file, files, chunks, embedded, tokens } = stored;
        self.done += files;
        self.stored_chunks += chunks;
        self.report.embedded += embedded;
        self.report.tokens += tokens;
        let Some(file) = last_file else { return };
        let seconds = self.begin.elapsed().as_secs_f64();
        let left = self.total.saturating_sub(self.done);
        let finished = self.waiting.saturating_sub(left);
        self.reporter.send(IndexEvent::Indexing {
            file,
            done: self.done,
            total: self.total,
            chunks: self.stored_chunks,
            tokens: self.report.tokens,
            tokens_per_second: self.report.tokens as f64 / seconds.max(1e-9),
            eta_seconds: (finished > 0).then(|| seconds / finished as f64 * left as f64),
        });
    }
}
