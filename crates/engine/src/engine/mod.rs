//! Loaded models (once each, shared), scheduling between calls, cancel, progress, memory limits.
