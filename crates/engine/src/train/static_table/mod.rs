//! The trainer of static token tables: one row and one learned weight for each token, a text is the
//! weighted sum of its tokens' rows at unit length.
//!
//! [`distill`] pulls the table towards a teacher's vectors, [`fit`] trains it on pairs of a query and
//! its document by symmetric InfoNCE over the other pairs of the batch. The gradients are written by
//! hand: a step is gather, sum, normalise, products of matrices, scatter, Adam.
//!
//! The same seed gives the same bits on any number of threads: every sum has one order, because the
//! work is shared out by texts, by tokens and by tiles of fixed size, never by threads. Another kind of
//! CPU may round differently.

mod adam;
mod bag;
mod batches;
mod check;
mod contrast;
mod cosine;
mod distill;
mod fit;
mod kernels;
mod matmul;
mod minibatch;
mod options;
mod quantize;
mod random;
mod table;
mod trainer;

#[cfg(test)]
mod tests;

pub use bag::{Bag, Example};
pub use distill::distill;
pub use fit::fit;
pub use options::{Adam, DistillOptions, FitOptions};
pub use quantize::Quantized;
pub use table::Table;
pub use trainer::Epoch;
