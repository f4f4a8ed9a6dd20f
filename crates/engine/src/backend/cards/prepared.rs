//! A batch as devices like it: the sequences by length, so that those of one length stand side by side.

use std::sync::Arc;

use crate::batch::PackedBatch;
use crate::error::{Error, Result};

/// A batch in the order of lengths, and the way back.
pub(super) struct Prepared {
    pub(super) batch: Arc<PackedBatch>,
    /// The row of the original batch for each row of this one; `None` if they are the same.
    original: Option<Vec<usize>>,
}

impl Prepared {
    /// Sorts, the longest first: what does not fit is found out at once.
    pub(super) fn new(batch: &PackedBatch) -> Self {
        let mut order: Vec<usize> = (0..batch.sequences()).collect();
        order.sort_by_key(|sequence| std::cmp::Reverse(batch.len_of(*sequence)));
        if order.is_sorted() {
            return Prepared { batch: Arc::new(batch.clone()), original: None };
        }
        let mut rows_of = vec![Vec::new(); batch.sequences()];
        for (row, span) in batch.spans.iter().enumerate() {
            rows_of[span.sequence as usize].push(row);
        }
        let mut sorted = PackedBatch::new();
        let mut original = Vec::with_capacity(batch.spans.len());
        for sequence in order {
            let rows = &rows_of[sequence];
            let spans: Vec<_> = rows.iter().map(|row| batch.spans[*row].start..batch.spans[*row].end).collect();
            let task_id = batch.task_ids.get(sequence).copied();
            sorted.push(&batch.ids[batch.range(sequence)], &spans, task_id);
            original.extend_from_slice(rows);
        }
        Prepared { batch: Arc::new(sorted), original: Some(original) }
    }

    /// The rows in the order of the original batch.
    ///
    /// # Errors
    /// `INTERNAL` if there are more or fewer than were asked for.
    pub(super) fn restore(&self, rows: Vec<f32>, width: usize) -> Result<Vec<f32>> {
        let count = self.batch.spans.len();
        if rows.len() != count * width {
            let found = rows.len();
            return Err(Error::internal(format!(
                "The device gave {found} values in place of {count} rows of {width}."
            )));
        }
        let Some(original) = &self.original else { return Ok(rows) };
        let mut out = vec![0.0; rows.len()];
        for (row, original) in rows.chunks_exact(width).zip(original) {
            out[original * width..(original + 1) * width].copy_from_slice(row);
        }
        Ok(out)
    }
}
