//! The ONNX backend on graphs that are written here, and on the fixtures.
//!
//! Needs the ONNX Runtime library of the npm package `onnxruntime-node` (see `support::library`).
#![allow(clippy::unwrap_used)]
// A span list of one range is what it looks like.
#![allow(clippy::single_range_in_vec_init)]

mod cancelling;
#[path = "../common/mod.rs"]
mod common;
mod encoder;
mod fixtures;
mod graphs;
mod loading;
mod memory;
mod proto;
mod support;
mod written;
