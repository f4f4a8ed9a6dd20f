//! What a model is: reading its folder, the catalogue of known models, the space id.

mod auto;
mod card;
pub mod catalogue;
mod config;
mod describe;
mod digest;
mod folder;
mod limits;
mod modules;
mod needed;
mod onnx_files;
mod sbert;
pub mod space;
mod spec;
pub mod static_table;
mod tasks;
pub(crate) mod tokenizer_files;
mod weights;

pub use auto::choose_auto;
pub use describe::describe;
pub use needed::{is_complete, license, needed};
pub use space::{SpaceParts, content_digest, space_id, weight_files};
pub use spec::*;

#[cfg(test)]
mod tests;
