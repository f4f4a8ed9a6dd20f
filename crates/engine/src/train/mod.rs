//! Making models: nothing here is needed to run one.

pub mod vocabulary;
