//! `dst (+)= a · b` over strided views: the one place that calls the matrix kernel.

use gemm::Parallelism;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// `rows × cols`, each row `stride` after the one before.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len(), "view outside its slice");
        View { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        View {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: self.data,
        }
    }
}

/// A matrix that is written, rows `stride` apart.
pub(super) struct ViewMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> ViewMut<'a> {
    /// `rows × cols`, each row `stride` after the one before.
    pub(super) fn new(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || (rows - 1) * stride + cols <= data.len(), "view outside its slice");
        assert!(stride >= cols, "rows of a written view overlap");
        ViewMut { data, rows, cols, stride }
    }
}

/// `dst = a · b`, or `dst += a · b`, shared among the threads of the current pool.
pub(super) fn matmul(dst: ViewMut<'_>, a: View<'_>, b: View<'_>, accumulate: bool) {
    assert!(a.rows == dst.rows && b.cols == dst.cols && a.cols == b.rows, "shapes do not fit");
    let parallelism = Parallelism::Rayon(rayon::current_num_threads());
    // SAFETY: each view was checked to lie inside its slice when it was made (the transposed one has
    // the same elements), `dst` is borrowed mutably and so overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            dst.rows,
            dst.cols,
            a.cols,
            dst.data.as_mut_ptr(),
            1,
            dst.stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
