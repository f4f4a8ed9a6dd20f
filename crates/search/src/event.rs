//! What an update tells while it runs.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use embedding_engine::engine::Event;
use serde::Serialize;

/// Ten a second.
const INTERVAL: Duration = Duration::from_millis(100);

/// One step of an update.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum IndexEvent {
    /// Files are stored.
    Indexing {
        /// The last one that was stored.
        file: String,
        /// Files that are up to date.
        done: usize,
        /// Files of the folder.
        total: usize,
        /// Chunks of the files that were stored so far.
        chunks: u64,
        /// What the model has read so far.
        tokens: u64,
        /// Since the update began.
        tokens_per_second: f64,
        /// What the rest will take at this speed; not told before anything is known of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        eta_seconds: Option<f64>,
    },
    /// Another update of this index runs already, here or in another process; this one begins when it has ended.
    Waiting,
    /// Texts are computed; how many there will be is known only when all files have been read.
    Embedding {
        /// Texts that are done.
        done: usize,
        /// Of the model.
        tokens_per_second: f64,
    },
    /// What the engine tells: files of the model, its loading, notices.
    #[serde(untagged)]
    Engine(Event),
}

/// Where the events of an update go. Called on any thread: it must not wait.
pub type OnIndexEvent = Arc<dyn Fn(IndexEvent) + Send + Sync>;

/// Passes on at most ten events a second of each kind that says how far something is.
#[derive(Clone, Default)]
pub(crate) struct Reporter {
    target: Option<OnIndexEvent>,
    last: Arc<Mutex<[Option<Instant>; 2]>>,
}

impl Reporter {
    pub(crate) fn new(target: Option<OnIndexEvent>) -> Self {
        Reporter { target, last: Arc::default() }
    }

    pub(crate) fn send(&self, event: IndexEvent) {
        let Some(target) = &self.target else { return };
        let (kind, last) = match event {
            IndexEvent::Indexing { done, total, .. } => (0, done == total),
            IndexEvent::Embedding { .. } => (1, false),
            IndexEvent::Waiting | IndexEvent::Engine(_) => return target(event),
        };
        {
            let mut times = crate::lock(&self.last);
            if !last && times[kind].is_some_and(|time| time.elapsed() < INTERVAL) {
                return;
            }
            times[kind] = Some(Instant::now());
        }
        target(event);
    }
}
