//! Making models: nothing here is needed to run one.

pub mod static_table;
pub mod vocabulary;
