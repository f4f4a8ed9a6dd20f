//! The products of a transformer on the CPU: linear layers `y = f(x · Wᵀ + bias)`, with the weights packed once
//! into the layout that the kernels read, and attention.
//!
//! A weight matrix is cut into panels of 32 rows. A kernel multiplies a tile of a few rows of activations with
//! one panel and keeps all sums in registers; which kernel is decided at run time ([`Isa`]).
//!
//! Each output element is summed in an order that depends on the layer and the [`Isa`] alone: a row gives
//! the same bits alone and in any batch, on one thread and on many.
//!
//! All `unsafe` code is in the module `simd`.

mod attention;
mod block;
mod isa;
mod linear;
pub mod math;
mod mlp;
mod panels;
mod quantized;
mod schedule;
mod simd;

pub use attention::{Attention, Workspace};
pub use isa::Isa;
pub use linear::{Activation, Linear, Output, Precision};
pub use mlp::Mlp;
