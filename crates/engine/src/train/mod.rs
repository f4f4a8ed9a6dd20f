//! Training: what makes the bundled model, and nothing that inference needs.

pub mod static_table;
