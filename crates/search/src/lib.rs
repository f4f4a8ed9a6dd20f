//! Code search on top of the engine: an index of a folder in one SQLite file, an exact scan of its vectors, full text
//! over sub-tokens, and the fusion of both; with the evaluation that says how good it is.
//!
//! ```text
//! update:  folder -> chunks -> what has no vector yet -> engine -> store
//! query:   text -> engine -> scan of codes + full text -> fusion -> exact scores of the best
//! ```

pub mod bm25;
pub mod embedder;
pub mod evaluate;
pub mod event;
pub mod fuse;
mod index;
mod matrix;
mod place;
mod query;
mod recipe;
pub mod scan;
mod store;
pub mod subtokens;
mod update;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use index::{Index, Stats};
pub use place::{canonical_folder, default_store};
pub use query::{Filter, Hit, QueryOptions};
pub use update::{UpdateOptions, UpdateReport};

/// Locks, poisoned or not: what is guarded here is whole whenever a panic can come.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
