//! Many token sequences as one, without padding.

use std::ops::Range;

/// One output row: the tokens `start..end` of sequence `sequence`, pooled together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the sequence within the batch.
    pub sequence: u32,
    /// First token, counted from the start of the sequence.
    pub start: u32,
    /// One past the last token, counted from the start of the sequence.
    pub end: u32,
}

/// The ids of all texts one after another, cumulative lengths, and one span per output row.
///
/// A plain text has one span over its whole sequence; late chunking gives a sequence several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedBatch {
    /// Token ids of all sequences, special tokens included.
    pub ids: Vec<u32>,
    /// `cumulative[i]..cumulative[i + 1]` are the ids of sequence `i`; starts with 0.
    pub cumulative: Vec<u32>,
    /// What each output row pools, in the order of the rows.
    pub spans: Vec<Span>,
    /// Task id of each sequence, for graphs that take one (Jina v3); empty where the model has none.
    pub task_ids: Vec<i64>,
}

impl PackedBatch {
    /// An empty batch.
    pub fn new() -> Self {
        PackedBatch { cumulative: vec![0], ..PackedBatch::default() }
    }

    /// Appends a sequence with the given spans (token ranges within it).
    pub fn push(&mut self, ids: &[u32], spans: &[Range<u32>], task_id: Option<i64>) {
        let sequence = self.sequences() as u32;
        self.ids.extend_from_slice(ids);
        self.cumulative.push(self.ids.len() as u32);
        self.spans.extend(spans.iter().map(|span| Span { sequence, start: span.start, end: span.end }));
        if let Some(task_id) = task_id {
            self.task_ids.push(task_id);
        }
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.cumulative.len() - 1
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Where the ids of sequence `index` stand in [`PackedBatch::ids`].
    pub fn range(&self, index: usize) -> Range<usize> {
        self.cumulative[index] as usize..self.cumulative[index + 1] as usize
    }

    /// The sequences `sequences` as a batch, with their spans; those of a sequence stand together, in order.
    pub fn part(&self, sequences: Range<usize>) -> PackedBatch {
        let mut part = PackedBatch::new();
        let start = sequences.start;
        let mut spans = self.spans.iter().skip_while(|span| (span.sequence as usize) < start).peekable();
        for index in sequences {
            let mut own = Vec::new();
            while let Some(span) = spans.next_if(|span| span.sequence as usize == index) {
                own.push(span.start..span.end);
            }
            part.push(&self.ids[self.range(index)], &own, self.task_ids.get(index).copied());
        }
        part
    }

    /// Number of tokens in sequence `index`.
    pub fn len_of(&self, index: usize) -> usize {
        self.range(index).len()
    }
}
