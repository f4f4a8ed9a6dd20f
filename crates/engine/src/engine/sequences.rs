//! What a call wants to have computed: its texts as token sequences, each different one once.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::{Code, Error, Result};
use crate::model::ModelSpec;
use crate::tokenize::Encoded;

/// No further text.
const END: u32 = u32::MAX;

/// A token sequence and the rows of the result that come out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) ids: Vec<u32>,
    pub(super) spans: Spans,
    /// The row of the first span; the others follow.
    pub(super) row: u32,
    /// How many texts are this sequence.
    pub(super) texts: u32,
}

/// What of a sequence is pooled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spans {
    /// A text.
    One(Range<u32>),
    /// A document with its chunks.
    Chunks(Vec<Range<u32>>),
}

impl Spans {
    pub(super) fn as_slice(&self) -> &[Range<u32>] {
        match self {
            Spans::One(span) => std::slice::from_ref(span),
            Spans::Chunks(spans) => spans,
        }
    }
}

/// All sequences of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sequences {
    /// Longest first.
    pub(super) sequences: Vec<Sequence>,
    /// `same[row]` is the next row with the same sequence; empty if all are different.
    same: Vec<u32>,
    /// Rows of the result.
    pub(super) rows: usize,
    /// What the model reads of each text.
    pub(super) tokens_per_text: Vec<u32>,
    /// Whether each text was cut.
    pub(super) truncated: Vec<bool>,
}

impl Sequences {
    /// One row a text. Texts with the same tokens are computed once.
    pub(super) fn of_texts(encoded: Vec<Encoded>) -> Self {
        let mut first_row: HashMap<(&[u32], &Range<u32>), u32> = HashMap::with_capacity(encoded.len());
        let mut texts = vec![0_u32; encoded.len()];
        let mut same = vec![END; encoded.len()];
        let mut last_row: Vec<u32> = (0..encoded.len() as u32).collect();
        for (row, text) in encoded.iter().enumerate() {
            let first = *first_row.entry((&text.ids, &text.pooled)).or_insert(row as u32) as usize;
            texts[first] += 1;
            if first != row {
                same[last_row[first] as usize] = row as u32;
                last_row[first] = row as u32;
            }
        }
        drop((first_row, last_row));
        let rows = encoded.len();
        let tokens_per_text = encoded.iter().map(|text| text.ids.len() as u32).collect();
        let truncated = encoded.iter().map(Encoded::truncated).collect();
        let mut sequences: Vec<Sequence> = encoded
            .into_iter()
            .zip(texts)
            .enumerate()
            .filter(|&(_, (_, texts))| texts > 0)
            .map(|(row, (text, texts))| Sequence {
                ids: text.ids,
                spans: Spans::One(text.pooled),
                row: row as u32,
                texts,
            })
            .collect();
        // Stable: texts of equal length are computed in their order.
        sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.ids.len()));
        if sequences.len() == rows {
            same = Vec::new();
        }
        Sequences { sequences, same, rows, tokens_per_text, truncated }
    }

    /// One row a chunk of the one text.
    pub(super) fn of_chunks(encoded: Encoded, spans: Vec<Range<u32>>) -> Self {
        let rows = spans.len();
        let tokens_per_text = vec![encoded.ids.len() as u32];
        let truncated = vec![encoded.truncated()];
        let sequence = Sequence { ids: encoded.ids, spans: Spans::Chunks(spans), row: 0, texts: 1 };
        let sequences = if rows == 0 { Vec::new() } else { vec![sequence] };
        Sequences { sequences, same: Vec::new(), rows, tokens_per_text, truncated }
    }

    /// The rows that get the same vector as `row`, itself first.
    pub(super) fn rows_like(&self, row: u32) -> impl Iterator<Item = usize> {
        let next = |&row: &u32| self.same.get(row as usize).copied().filter(|&next| next != END);
        std::iter::successors(Some(row), next).map(|row| row as usize)
    }

    /// Tokens that will be computed.
    pub(super) fn tokens(&self) -> u64 {
        self.sequences.iter().map(|sequence| sequence.ids.len() as u64).sum()
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.tokens_per_text.len()
    }
}

/// Refuses what the model cannot take, before anything is computed.
///
/// # Errors
/// `TEXT_TOO_LONG` with index, tokens and limit, unless texts may be cut; `INVALID_OPTION` if the
/// prompt leaves no token of a text to be pooled.
pub(super) fn check_lengths(encoded: &[Encoded], spec: &ModelSpec, truncate: bool) -> Result<()> {
    for (index, text) in encoded.iter().enumerate() {
        if text.truncated() && !truncate {
            let (tokens, limit) = (text.untruncated, spec.max_tokens);
            return Err(Error::new(
                Code::TextTooLong,
                format!(
                    "Text {index} has {tokens} tokens with all that is put around it, but {} reads {limit} at most. \
                     Shorten or split it, or pass truncate: true to have it cut.",
                    spec.id
                ),
            )
            .with("index", index)
            .with("tokens", tokens)
            .with("limit", limit));
        }
        if text.pooled.is_empty() {
            let limit = spec.max_tokens;
            return Err(Error::invalid_option(
                "prompt",
                format!(
                    "The prompt takes all of the {limit} tokens that {} reads at most, and leaves none of text {index} \
                     to be embedded. Pass a shorter prompt.",
                    spec.id
                ),
            )
            .with("index", index));
        }
    }
    Ok(())
}

/// Refuses chunks that got no token.
///
/// # Errors
/// `INVALID_INPUT` with the chunk's index.
pub(super) fn check_spans(spans: &[Range<u32>], chunks: &[Range<usize>], encoded: &Encoded) -> Result<()> {
    let Some(index) = spans.iter().position(Range::is_empty) else { return Ok(()) };
    let Range { start, end } = chunks[index];
    let why = if encoded.truncated() {
        format!(
            "the document was cut to {} of its {} tokens, and the chunk lies past the cut or holds no token of its own",
            encoded.ids.len(),
            encoded.untruncated
        )
    } else {
        "no token begins in it: it holds white space, or a part of a character or word, that belongs to another token"
            .to_owned()
    };
    Err(Error::new(
        Code::InvalidInput,
        format!("Chunk {index} (bytes {start} to {end}) cannot be embedded: {why}. Leave it out or make it longer."),
    )
    .with("index", index))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(ids: &[u32]) -> Encoded {
        Encoded { ids: ids.to_vec(), untruncated: ids.len(), pooled: 0..ids.len() as u32 }
    }

    #[test]
    fn equal_texts_are_computed_once() {
        let (a, b, c) = (text(&[1, 2]), text(&[3, 4, 5]), text(&[1, 2, 3]));
        let all = Sequences::of_texts(vec![a.clone(), b.clone(), a.clone(), c.clone(), b.clone(), a.clone()]);
        let summary: Vec<_> = all.sequences.iter().map(|s| (s.ids.as_slice(), s.row, s.texts)).collect();
        assert_eq!(summary, [(&[3, 4, 5][..], 1, 2), (&[1, 2, 3], 3, 1), (&[1, 2], 0, 3)]);
        assert_eq!(all.rows_like(0).collect::<Vec<_>>(), [0, 2, 5]);
        assert_eq!(all.rows_like(1).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(all.rows_like(3).collect::<Vec<_>>(), [3]);
        assert_eq!((all.rows, all.texts(), all.tokens()), (6, 6, 8));
        assert_eq!(all.tokens_per_text, [2, 3, 2, 3, 3, 2]);

        let different = Sequences::of_texts(vec![a, b]);
        assert!(different.same.is_empty());
        assert_eq!(different.rows_like(1).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn equal_ids_with_other_pooling_are_another_sequence() {
        let mut other = text(&[1, 2]);
        other.pooled = 1..2;
        assert_eq!(Sequences::of_texts(vec![text(&[1, 2]), other]).sequences.len(), 2);
    }

    #[test]
    fn chunks_are_rows_of_one_sequence() {
        let all = Sequences::of_chunks(text(&[1, 2, 3]), vec![0..1, 1..3]);
        assert_eq!((all.rows, all.texts(), all.sequences.len()), (2, 1, 1));
        assert_eq!(all.sequences[0].spans.as_slice(), [0..1, 1..3]);
        assert!(Sequences::of_chunks(text(&[1]), vec![]).sequences.is_empty());
    }
}
