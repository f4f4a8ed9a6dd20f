//! The napi glue between `crates/engine` and `lib/`: conversions, tasks, progress, cancel. No logic.
