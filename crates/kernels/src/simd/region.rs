//! A matrix cut into rectangles that different threads write to.

use std::marker::PhantomData;
use std::ops::Range;

/// Some rows and columns of a matrix; no other region has any of its elements.
pub(crate) struct Region<'a> {
    /// The start of the whole matrix.
    matrix: *mut f32,
    /// What its first element is called.
    origin: (usize, usize),
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: a region is the only way to its elements while the matrix is borrowed, as `&mut` is.
unsafe impl Send for Region<'_> {}

/// Cuts a matrix of `rows × width`: `row_cuts` and `column_cuts` are the ends of the parts, ascending.
pub(crate) fn regions<'a>(
    matrix: &'a mut [f32],
    rows: usize,
    width: usize,
    row_cuts: &[usize],
    column_cuts: &[usize],
) -> Vec<Region<'a>> {
    assert!(matrix.len() == rows * width, "the matrix has another size");
    let matrix = matrix.as_mut_ptr();
    let mut regions = Vec::with_capacity(row_cuts.len() * column_cuts.len());
    for rows in ranges(row_cuts, rows) {
        for columns in ranges(column_cuts, width) {
            regions.push(Region { matrix, origin: (0, 0), width, rows: rows.clone(), columns, borrow: PhantomData });
        }
    }
    regions
}

/// The ranges between cuts; they do not overlap and lie within `0..len`.
fn ranges(cuts: &[usize], len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    cuts.iter().map(move |end| {
        assert!(start <= *end && *end <= len, "cuts must ascend within the matrix");
        let range = start..*end;
        start = *end;
        range
    })
}

impl<'a> Region<'a> {
    /// A matrix as a whole, whose elements are called those of `rows` and `columns`.
    pub(crate) fn whole(matrix: &'a mut [f32], rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(matrix.len() == rows.len() * columns.len(), "the matrix has another size");
        let (origin, width) = ((rows.start, columns.start), columns.len());
        Region { matrix: matrix.as_mut_ptr(), origin, width, rows, columns, borrow: PhantomData }
    }

    /// Its rows, as they are called.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Its columns, as they are called.
    pub(crate) fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Asks for the memory of `columns` of some rows, which will soon be written: results that go to L2 or
    /// beyond would hold up the next tile.
    #[inline(always)]
    pub(crate) fn prefetch(&self, rows: Range<usize>, columns: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        for row in rows {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let at = (row - self.origin.0) * self.width + columns.start - self.origin.1;
            let first = self.matrix.wrapping_add(at).cast::<i8>();
            // A row that does not begin with a line may end in one more.
            let before = first.addr() % 64;
            for line in (0..before + size_of::<f32>() * columns.len()).step_by(64) {
                // SAFETY: every x86-64 CPU has the instruction, and nothing is read.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_sub(before).wrapping_add(line)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (rows, columns);
    }

    /// `columns` of one row.
    pub(crate) fn row(&mut self, row: usize, columns: Range<usize>) -> &mut [f32] {
        let (start, len) = (self.place(row, &columns), columns.len());
        // SAFETY: `place` has checked that they lie within the region, which lies within the matrix and is
        // disjoint from all others (`regions`, `whole`), and `self` is borrowed mutably for as long as they are.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// `columns` of one row, to be read.
    pub(crate) fn read(&self, row: usize, columns: Range<usize>) -> &[f32] {
        let (start, len) = (self.place(row, &columns), columns.len());
        // SAFETY: as in `row`; while `self` is borrowed nobody writes to them.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Where `columns` of one row begin.
    fn place(&self, row: usize, columns: &Range<usize>) -> *mut f32 {
        assert!(self.rows.contains(&row), "row {row} is not in the region");
        assert!(
            self.columns.start <= columns.start && columns.start <= columns.end && columns.end <= self.columns.end,
            "columns {columns:?} are not in the region"
        );
        // SAFETY: what was checked lies within the matrix.
        unsafe { self.matrix.add((row - self.origin.0) * self.width + columns.start - self.origin.1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_a_matrix_once() {
        let mut matrix = vec![0.0; 7 * 11];
        for mut region in regions(&mut matrix, 7, 11, &[3, 3, 7], &[4, 10, 11]) {
            let columns = region.columns();
            for row in region.rows() {
                region.row(row, columns.clone()).iter_mut().for_each(|value| *value += 1.0);
            }
        }
        assert!(matrix.iter().all(|value| *value == 1.0), "{matrix:?}");
    }

    #[test]
    #[should_panic(expected = "not in the region")]
    fn other_columns_are_out_of_reach() {
        let mut matrix = vec![0.0; 4];
        regions(&mut matrix, 2, 2, &[2], &[1, 2])[0].row(0, 0..2);
    }

    #[test]
    #[should_panic(expected = "must ascend")]
    fn overlapping_cuts_are_refused() {
        regions(&mut [0.0; 4], 2, 2, &[2, 1], &[2]);
    }
}
