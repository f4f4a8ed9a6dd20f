//! The parts of a transformer, written for CPUs: weights held in f32, bf16 or f16, all arithmetic in
//! f32, work shared among the threads of the rayon pool that it is called in.

mod buffers;
mod elementwise;
mod linear;
mod math;
mod matmul;
mod mlp;
mod parts;

use buffers::Buffer;
pub use linear::Storage;
pub use parts::CpuParts;

/// Activations: one row of `width` values per token.
#[derive(Debug)]
pub struct Rows {
    data: Buffer,
    width: usize,
}

impl Rows {
    fn count(&self) -> usize {
        self.data.len() / self.width
    }
}
