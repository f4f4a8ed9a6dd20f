//! Code search on top of the engine: an index of a folder in one SQLite file, an exact scan of its vectors, full text
//! over sub-tokens, and the fusion of both; with the evaluation that says how good it is.

pub mod fuse;
pub mod scan;
pub mod subtokens;
