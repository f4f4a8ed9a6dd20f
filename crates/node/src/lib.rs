//! The napi glue between `crates/engine` and `lib/`: conversions, tasks, progress, cancel. No logic.
//!
//! Every error is an `Error` whose message is JSON with `code`, `message` and `details`; `lib/errors.ts`
//! makes a typed error of it. No thread of libuv is held: promises are settled from the engine's own.

mod chunk;
mod engine;
mod errors;
mod evaluate;
mod events;
mod farewell;
mod index;
mod info;
mod promise;
