//! Text embeddings inside one process.
//!
//! Text flows one way, through rooms that each do one thing:
//!
//! ```text
//! text -> tokenize -> plan (batch) -> run (backend) -> pool -> finish -> vectors
//! ```
//!
//! [`engine::Engine`] ties the rooms together; nothing here knows of Node.

pub mod backend;
pub mod batch;
pub mod cancel;
pub mod device;
pub mod engine;
pub mod error;
pub mod finish;
pub mod hub;
pub mod model;
mod sync;
pub mod tokenize;
pub mod train;

pub use cancel::Cancel;
pub use error::{Code, Error, Result};
