//! Products of matrices whose bits do not depend on the number of threads.

use gemm::Parallelism;
use rayon::prelude::*;

/// Rows of the result that one task computes: fixed, so that the kernel splits its sums the same way on
/// any number of threads.
const TILE: usize = 128;

/// A matrix that is read.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows × cols`, row after row.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a matrix fills its slice");
        Matrix { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Matrix {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: self.data,
        }
    }
}

/// `out = scale · a · b`, row after row.
pub(super) fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, scale: f32) {
    assert!(a.cols == b.rows && out.len() == a.rows * b.cols, "shapes do not fit");
    if out.is_empty() {
        return;
    }
    out.par_chunks_mut(TILE * b.cols).enumerate().for_each(|(tile, out)| {
        let rows = out.len() / b.cols;
        let a_data = &a.data[tile * TILE * a.row_stride..];
        // SAFETY: `Matrix::new` checked that a matrix fills its slice; the rows from `tile · TILE` on are
        // rows of `a`, because they are rows of `out`. `out` is borrowed mutably: it overlaps neither.
        unsafe {
            gemm::gemm(
                rows,
                b.cols,
                a.cols,
                out.as_mut_ptr(),
                1,
                b.cols as isize,
                false,
                a_data.as_ptr(),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.col_stride as isize,
                b.row_stride as isize,
                0.0,
                scale,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    });
}
