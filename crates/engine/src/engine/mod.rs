//! Loaded models (once each, shared), scheduling between calls, cancel, progress, memory limits.
//!
//! ```text
//! embed ─ reserve room ─ find and describe the model ─ check and encode ─ load the weights ─ queue
//!          (gauge)         (reference, models)          (encode, tasks)     (models)         (queue)
//! ```
//!
//! Nothing waits on a caller's thread: each step hands over to the next on one of the engine's own
//! threads, and the end of a call ([`settle`]) is told by a callback. Small work runs on a few task
//! threads, fair between calls; each model has a thread that loads it, owns its queue and computes its
//! batches inside a rayon pool that all models share.

mod call;
mod count;
mod doctor;
mod download;
mod embed;
mod encode;
mod event;
mod fallback;
mod gauge;
mod json;
mod lanes;
mod loader;
mod lookup;
mod memory;
mod models;
mod options;
mod outcome;
mod output;
mod preload;
mod queue;
mod reference;
mod reporter;
mod request;
mod sequences;
mod settle;
mod shared;
mod tasks;
mod texts;
mod threads;
mod worker;

use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use crate::hub::HubStatus;
pub use doctor::{CachedFiles, ModelEntry, doctor, hub_status, list_devices, list_models, model_path, remove_model};
pub use download::{Download, DownloadRequest, DownloadedFile, Verification, verify_request};
pub use event::{Event, Level, OnEvent};
pub use loader::{Description, Encoder, Files, Loader, Weights};
pub use options::EngineOptions;
pub use output::{EmbedOutput, ModelReport};
pub use request::{CountRequest, EmbedRequest, PreloadRequest, Prompt};
pub use texts::Texts;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use count::CountCall;
use embed::EmbedCall;
use gauge::Gauge;
use models::Models;
use preload::PreloadCall;
use settle::Calls;
use tasks::Tasks;
use threads::Running;

/// Threads for small work. One alone would let a call wait while it reads a folder for another; more than
/// four would take the processor away from computing.
const TASK_THREADS: std::ops::RangeInclusive<usize> = 2..=4;

/// Computes embeddings. Cheap to make: threads and models come with the first call.
///
/// Calls return at once and tell their result to a callback, on one of the engine's threads; each has a
/// blocking twin for programs that have threads of their own. Calls that are running when the engine is
/// dropped are still finished.
///
/// Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// A reference to an engine that does not keep it. The engine is there as long as anybody holds it, or
/// one of its calls runs; its threads may be there for a moment longer.
#[derive(Clone)]
pub struct WeakEngine {
    inner: Weak<Inner>,
    threads: Arc<Running>,
}

impl WeakEngine {
    /// As [`Engine::dispose`], if the engine is still there.
    pub fn dispose(&self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.dispose();
        }
    }

    /// Waits until the threads of the engine's models have left, at most for `limit`; whether they have. They
    /// do once the engine is disposed or gone.
    pub fn wait_until_gone(&self, limit: Option<Duration>) -> bool {
        self.threads.wait_for_none(limit)
    }

    /// Whether nothing is left, neither engine nor threads.
    pub fn is_gone(&self) -> bool {
        self.inner.strong_count() == 0 && self.wait_until_gone(Some(Duration::ZERO))
    }
}

struct Inner {
    options: EngineOptions,
    calls: Arc<Calls>,
    gauge: Arc<Gauge>,
    tasks: Tasks,
    models: Arc<Models>,
}

impl Engine {
    /// An engine for models in folders and in the hub cache.
    ///
    /// # Errors
    /// `INVALID_OPTION` with the option and its value.
    pub fn new(options: EngineOptions) -> Result<Self> {
        let loader = Arc::new(Files::new(&options));
        Self::with_loader(options, loader)
    }

    /// An engine that gets its models from elsewhere.
    ///
    /// # Errors
    /// `INVALID_OPTION` with the option and its value.
    pub fn with_loader(options: EngineOptions, loader: Arc<dyn Loader>) -> Result<Self> {
        options.validate()?;
        let inner = Inner {
            calls: Arc::default(),
            gauge: Gauge::new(options.max_queued_tokens),
            tasks: Tasks::new(options.threads().clamp(*TASK_THREADS.start(), *TASK_THREADS.end())),
            models: Models::new(loader, &options),
            options,
        };
        Ok(Engine { inner: Arc::new(inner) })
    }

    /// Embeds texts: one vector each, in order (with `chunks`: one a chunk of the one text).
    ///
    /// `done` gets the result, once. After `cancel` it gets `ABORTED`, at once.
    ///
    /// # Errors
    /// By `done`: `INVALID_INPUT`, `INVALID_OPTION`, `EMPTY_TEXT`, `TEXT_TOO_LONG`, `SPACE_MISMATCH`, all before
    /// anything is computed; `QUEUE_FULL`; what loading a model can fail with; `OUT_OF_MEMORY`, `NON_FINITE`,
    /// `ABORTED`, `DISPOSED`, `INTERNAL`.
    pub fn embed(
        &self,
        request: EmbedRequest,
        texts: impl Into<Texts>,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: impl FnOnce(Result<EmbedOutput>) + Send + 'static,
    ) {
        let texts = texts.into();
        if let Some(settle) = self.inner.calls.begin(cancel, progress, Box::new(done)) {
            EmbedCall::start(&self.inner, settle, request, texts);
        }
    }

    /// As [`Engine::embed`], waiting for the result.
    ///
    /// # Errors
    /// As there.
    pub fn embed_blocking(
        &self,
        request: EmbedRequest,
        texts: impl Into<Texts>,
        cancel: &Cancel,
    ) -> Result<EmbedOutput> {
        wait(|done| self.embed(request, texts, cancel, None, done))
    }

    /// Counts the tokens of each text with all that is put around it, before any truncation. Loads the
    /// tokenizer, not the weights.
    ///
    /// # Errors
    /// By `done`, as [`Engine::embed`]; an empty text is none.
    pub fn count_tokens(
        &self,
        request: CountRequest,
        texts: impl Into<Texts>,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: impl FnOnce(Result<Vec<u32>>) + Send + 'static,
    ) {
        let texts = texts.into();
        if let Some(settle) = self.inner.calls.begin(cancel, progress, Box::new(done)) {
            CountCall::start(&self.inner, settle, request, texts);
        }
    }

    /// As [`Engine::count_tokens`], waiting for the result.
    ///
    /// # Errors
    /// As there.
    pub fn count_tokens_blocking(
        &self,
        request: CountRequest,
        texts: impl Into<Texts>,
        cancel: &Cancel,
    ) -> Result<Vec<u32>> {
        wait(|done| self.count_tokens(request, texts, cancel, None, done))
    }

    /// Loads a model, so that the first call finds it loaded.
    ///
    /// # Errors
    /// By `done`: what loading a model can fail with; `ABORTED`, `DISPOSED`.
    pub fn preload(
        &self,
        request: PreloadRequest,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: impl FnOnce(Result<ModelReport>) + Send + 'static,
    ) {
        if let Some(settle) = self.inner.calls.begin(cancel, progress, Box::new(done)) {
            PreloadCall::start(&self.inner, settle, request);
        }
    }

    /// As [`Engine::preload`], waiting for the result.
    ///
    /// # Errors
    /// As there.
    pub fn preload_blocking(&self, request: PreloadRequest, cancel: &Cancel) -> Result<ModelReport> {
        wait(|done| self.preload(request, cancel, None, done))
    }

    /// Fetches a model without loading it.
    ///
    /// # Errors
    /// By `done`: as [`crate::hub::obtain`]; `MODEL_UNSUPPORTED`, `BAD_CHECKPOINT` for one that we cannot run;
    /// `DISPOSED`.
    pub fn download(
        &self,
        request: DownloadRequest,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: impl FnOnce(Result<Download>) + Send + 'static,
    ) {
        if let Some(settle) = self.inner.calls.begin(cancel, progress, Box::new(done)) {
            download::start(&self.inner, settle, request);
        }
    }

    /// Hashes the files of a model in the hub cache again, or of all models.
    ///
    /// # Errors
    /// By `done`: as [`crate::hub::verify`]; `DISPOSED`.
    pub fn verify(
        &self,
        model: Option<String>,
        cancel: &Cancel,
        progress: Option<OnEvent>,
        done: impl FnOnce(Result<Verification>) + Send + 'static,
    ) {
        if let Some(settle) = self.inner.calls.begin(cancel, progress, Box::new(done)) {
            download::start_verify(&self.inner, settle, model);
        }
    }

    /// The models that are loaded now.
    pub fn loaded_models(&self) -> Vec<ModelReport> {
        self.inner.models.loaded().iter().map(|model| model.report(None)).collect()
    }

    /// A reference that does not keep the engine.
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine { inner: Arc::downgrade(&self.inner), threads: self.inner.models.threads() }
    }

    /// Ends all calls with `DISPOSED` and stops the threads, without waiting for them. Later calls are `DISPOSED`.
    pub fn dispose(&self) {
        self.inner.dispose();
    }

    /// As [`Engine::dispose`], and waits until the models are freed, at most for `limit`; whether they were.
    pub fn dispose_blocking(&self, limit: Option<Duration>) -> bool {
        self.inner.dispose();
        self.inner.models.threads().wait_for_none(limit)
    }

    /// Whether the engine was disposed.
    pub fn is_disposed(&self) -> bool {
        self.inner.calls.is_disposed()
    }
}

impl Inner {
    fn dispose(&self) {
        self.calls.dispose();
        self.models.stop();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Every call that runs holds this, so that none is left.
        self.dispose();
    }
}

/// Waits for what `start` tells to its callback.
fn wait<T: Send + 'static>(start: impl FnOnce(Box<dyn FnOnce(Result<T>) + Send>)) -> Result<T> {
    let (sender, receiver) = channel();
    start(Box::new(move |result| {
        let _ = sender.send(result);
    }));
    receiver.recv().unwrap_or_else(|_| Err(Error::internal("A call ended without a result.")))
}

#[cfg(test)]
mod tests;
