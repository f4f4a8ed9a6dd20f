//! Elementary functions that the compiler can vectorise, as the kernels have them.

pub(super) use embedding_engine_kernels::math::{gelu, gelu_tanh, sigmoid, silu, tanh};
