//! Pooling of token rows.
