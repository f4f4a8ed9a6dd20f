//! The parts of a transformer, written for CPUs: weights held in f32, bf16 or f16, all arithmetic in
//! f32, work shared among the threads of the rayon pool that it is called in.

mod attention;
mod elementwise;
mod linear;
mod math;
mod matmul;
mod parts;

pub use linear::Storage;
pub use parts::CpuParts;

/// Activations: one row of `width` values per token.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    data: Vec<f32>,
    width: usize,
}

impl Rows {
    /// `rows` rows of zeros.
    ///
    /// # Errors
    /// `OUT_OF_MEMORY`.
    fn zeros(rows: usize, width: usize) -> crate::error::Result<Self> {
        Ok(Rows { data: zeroed(rows * width)?, width })
    }

    fn count(&self) -> usize {
        self.data.len() / self.width
    }
}

/// A zeroed buffer, or an error in place of the end of the process.
///
/// # Errors
/// `OUT_OF_MEMORY`.
fn zeroed(len: usize) -> crate::error::Result<Vec<f32>> {
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|_| {
        let bytes = len * size_of::<f32>();
        crate::Error::new(crate::Code::OutOfMemory, format!("No memory for activations ({bytes} bytes)."))
            .with("bytes", bytes)
    })?;
    data.resize(len, 0.0);
    Ok(data)
}
