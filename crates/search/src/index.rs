//! An index of a folder, as programs hold it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use embedding_engine::cancel::Listening;
use embedding_engine::engine::{Event, OnEvent};
use embedding_engine::{Cancel, Code, Error, Result};
use rusqlite::{Connection, TransactionBehavior};
use serde::Serialize;

use crate::embedder::{Embedded, Embedder, Purpose};
use crate::event::{OnIndexEvent, Reporter};
use crate::lock;
use crate::matrix::Matrix;
use crate::query::{self, Hit, QueryOptions};
use crate::store::{self, Store};
use crate::update::{self, UpdateOptions, UpdateReport};

/// What an index has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Files with chunks.
    pub files: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Of the file on disk, with its log.
    pub bytes: u64,
    /// Where it is.
    pub store: PathBuf,
    /// Of the vectors of the last update.
    pub space: Option<String>,
}

/// An index of a folder. Clones are the same index. Calls wait for their result; queries may run beside each other and
/// beside an update, here and in other processes.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    store: Store,
    embedder: Box<dyn Embedder>,
    options: UpdateOptions,
    matrix: Mutex<Option<Arc<Matrix>>>,
    space: Mutex<Option<String>>,
    calls: Calls,
}

impl Index {
    /// Opens the index of `folder` that lies in the file `store`, or makes an empty one.
    ///
    /// # Errors
    /// `INVALID_INPUT` for what is no folder, no index, or cannot be opened; `INTEGRITY_FAILED` for a damaged file;
    /// `DISK_FULL`.
    pub fn open(folder: &Path, store: &Path, embedder: Box<dyn Embedder>, options: UpdateOptions) -> Result<Self> {
        let folder = crate::place::canonical_folder(folder)?;
        let store = Store::open(store, &Cancel::never())?;
        let connection = store.connection()?;
        let space = store::last_space(&connection).map_err(|error| store.failure().of(error))?;
        store.put_back(connection);
        let inner = Inner {
            folder,
            store,
            embedder,
            options,
            matrix: Mutex::default(),
            space: Mutex::new(space),
            calls: Calls::default(),
        };
        Ok(Index { inner: Arc::new(inner) })
    }

    /// Brings the index up to date with the folder. What was stored before a cancel or a failure stays.
    ///
    /// # Errors
    /// `ABORTED`, `DISPOSED`, `INVALID_OPTION` for globs; those of the model; those of [`Index::open`].
    pub fn update(&self, cancel: &Cancel, progress: Option<OnIndexEvent>) -> Result<UpdateReport> {
        self.inner.calls.run(cancel, |cancel| {
            let Inner { folder, store, embedder, options, .. } = &*self.inner;
            let reporter = Reporter::new(progress);
            let report = update::update(folder, store, embedder.as_ref(), options, cancel, &reporter)?;
            *lock(&self.inner.space) = Some(report.space.clone());
            Ok(report)
        })
    }

    /// The best chunks for a text.
    ///
    /// # Errors
    /// `ABORTED`, `DISPOSED`, `INVALID_OPTION` for filters; `SPACE_MISMATCH` where the index has no vectors of this
    /// model; those of the model; those of [`Index::open`].
    pub fn query(
        &self,
        text: &str,
        options: &QueryOptions,
        cancel: &Cancel,
        progress: Option<OnEvent>,
    ) -> Result<Vec<Hit>> {
        self.inner.calls.run(cancel, |cancel| {
            let embedded = self.inner.embed_query(text, cancel, progress)?;
            cancel.check()?;
            let mut connection = self.inner.store.connection()?;
            let hits = self.inner.search(&mut connection, text, embedded, options, cancel)?;
            self.inner.store.put_back(connection);
            Ok(hits)
        })
    }

    /// How much there is.
    ///
    /// # Errors
    /// `DISPOSED`; those of [`Index::open`].
    pub fn stats(&self) -> Result<Stats> {
        self.inner.calls.run(&Cancel::never(), |_| {
            let store = &self.inner.store;
            let connection = store.connection()?;
            let totals = store::totals(&connection).map_err(|error| store.failure().of(error))?;
            store.put_back(connection);
            let size = |ending: &str| {
                let mut path = store.path().as_os_str().to_owned();
                path.push(ending);
                std::fs::metadata(path).map_or(0, |metadata| metadata.len())
            };
            Ok(Stats {
                files: totals.files,
                chunks: totals.chunks,
                bytes: size("") + size("-wal"),
                store: store.path().to_owned(),
                space: self.space(),
            })
        })
    }

    /// The space of the vectors: of the last update or query, or as the file has it.
    pub fn space(&self) -> Option<String> {
        lock(&self.inner.space).clone()
    }

    /// Where the index lies.
    pub fn store(&self) -> &Path {
        self.inner.store.path()
    }

    /// Cancels what runs, waits for it, and closes the file. Later calls are `DISPOSED`.
    pub fn close(&self) {
        self.inner.calls.close();
        lock(&self.inner.matrix).take();
        self.inner.store.close();
    }
}

impl Inner {
    fn embed_query(&self, text: &str, cancel: &Cancel, progress: Option<OnEvent>) -> Result<Embedded> {
        let (sender, receiver) = channel();
        // One text needs no bar.
        let progress = progress.map(|target| -> OnEvent {
            Arc::new(move |event| {
                if !matches!(event, Event::Embedding { .. }) {
                    target(event);
                }
            })
        });
        let done = Box::new(move |result| {
            // The receiver waits until this is told.
            let _ = sender.send(result);
        });
        self.embedder.embed(Purpose::Query, vec![text.to_owned()], None, cancel, progress, done);
        let ended = || Err(Error::internal("A call to the model ended without a result."));
        receiver.recv().unwrap_or_else(|_| ended())
    }

    fn search(
        &self,
        connection: &mut Connection,
        text: &str,
        embedded: Embedded,
        options: &QueryOptions,
        cancel: &Cancel,
    ) -> Result<Vec<Hit>> {
        let failure = self.store.failure();
        let sql = |error| failure.of(error);
        // All that follows sees one state, whatever others store meanwhile.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(sql)?;
        let generation = store::generation(&transaction).map_err(sql)?;
        let Some(space) = store::space_id(&transaction, &embedded.space).map_err(sql)? else {
            return match store::last_space(&transaction).map_err(sql)? {
                // Nothing was ever stored.
                None => Ok(Vec::new()),
                Some(there) => Err(mismatch(&there, &embedded.space)),
            };
        };
        let matrix = self.matrix(&transaction, generation, space).map_err(sql)?;
        *lock(&self.space) = Some(embedded.space);
        query::search(&transaction, &failure, &matrix, text, embedded.vectors, options, cancel)
    }

    /// The state that `connection` sees; read once, however many queries wait for it.
    fn matrix(&self, connection: &Connection, generation: i64, space: i64) -> rusqlite::Result<Arc<Matrix>> {
        let mut held = lock(&self.matrix);
        if let Some(matrix) = held.as_ref().filter(|held| (held.generation, held.space) == (generation, space)) {
            return Ok(Arc::clone(matrix));
        }
        // A query that began before others stored more may see an older state than the one held: it reads its own.
        let older = held.as_ref().is_some_and(|held| held.generation > generation);
        let base = if older { None } else { held.as_deref() };
        let matrix = Arc::new(Matrix::read(connection, generation, space, base)?);
        if !older {
            *held = Some(Arc::clone(&matrix));
        }
        Ok(matrix)
    }
}

fn mismatch(there: &str, asked: &str) -> Error {
    Error::new(
        Code::SpaceMismatch,
        format!(
            "The index has vectors of the space {there}, and the query lies in {asked}: the model or its dimensions are \
             others. Call update() first, which embeds the folder with this model, or open the index with the other one."
        ),
    )
    .with("expected", there)
    .with("found", asked)
}

/// What runs, so that closing can end it.
#[derive(Default)]
struct Calls {
    state: Mutex<CallsState>,
    ended: Condvar,
}

#[derive(Default)]
struct CallsState {
    closed: bool,
    next: u64,
    running: HashMap<u64, Cancel>,
}

impl Calls {
    /// Does `work` with a token of its own, that is cancelled by the caller's and by closing.
    fn run<T>(&self, cancel: &Cancel, work: impl FnOnce(&Cancel) -> Result<T>) -> Result<T> {
        let own = Cancel::new();
        let running = self.enter(own.clone())?;
        let told = own.clone();
        let _listening: Listening = cancel.on_cancel(move || told.cancel());
        let result = work(&own);
        // What it may have left at work for itself, after a failure, is not needed any more.
        own.cancel();
        drop(running);
        match result {
            Err(error) if error.code == Code::Aborted && !cancel.is_cancelled() => Err(closed()),
            result => result,
        }
    }

    fn enter(&self, cancel: Cancel) -> Result<Running<'_>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(closed());
        }
        state.next += 1;
        let id = state.next;
        state.running.insert(id, cancel);
        Ok(Running { calls: self, id })
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let running: Vec<Cancel> = state.running.values().cloned().collect();
        drop(state);
        running.iter().for_each(Cancel::cancel);
        let mut state = lock(&self.state);
        while !state.running.is_empty() {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Running<'c> {
    calls: &'c Calls,
    id: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.calls.state).running.remove(&self.id);
        self.calls.ended.notify_all();
    }
}

fn closed() -> Error {
    Error::new(Code::Disposed, "The index was closed. Open it again with openIndex for further calls.")
}
