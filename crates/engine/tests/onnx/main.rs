//! The ONNX backend on graphs that are written here, and on the fixtures.
//!
//! Needs the ONNX Runtime library of the npm package `onnxruntime-node` (see `support::library`).
#![allow(clippy::unwrap_used)]

mod cancelling;
mod encoder;
mod graphs;
mod loading;
mod memory;
mod proto;
mod support;
