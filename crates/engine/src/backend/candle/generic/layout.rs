//! How the sequences of a batch lie in attention: those of about one length are handled together.
//!
//! Linear layers see the packed rows. Attention sees buckets, `[sequences, longest]` each: where all have
//! one length and stand side by side that is the packed rows as they are, else rows are gathered into it.
//! A place past the end of a shorter sequence repeats its first row; what comes of it is dropped.

use std::collections::HashMap;
use std::sync::Mutex;

use candle_core::{Device, Tensor};

use super::attention::PENALTY;
use crate::backend::candle::parts::AttentionShape;
use crate::sync::lock;

/// A shorter sequence joins a bucket if it has 7 / 8 of the length of the longest, or is at most this shorter.
const SLACK: usize = 8;

/// The layout of one batch.
#[derive(Debug)]
pub(super) struct Layout {
    cumulative: Vec<u32>,
    scores: usize,
    pub(super) buckets: Vec<Bucket>,
    /// Where each packed row stands in the buckets one after another; `None` if in the same place.
    pub(super) back: Option<Tensor>,
    /// 0, 1, 2 … as f32, up to the longest sequence.
    positions: Tensor,
    masks: Mutex<Masks>,
}

/// Sequences that attention handles together.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) sequences: usize,
    /// Length of the longest.
    pub(super) len: usize,
    pub(super) rows: Rows,
    /// Nothing for tokens and [`PENALTY`] for the places past the end: `[sequences, 1, 1, len]`.
    pub(super) padding: Option<Tensor>,
}

/// The packed rows of a bucket.
#[derive(Debug)]
pub(super) enum Rows {
    /// One after another from here.
    From(usize),
    /// These: `[sequences * len]`.
    At(Tensor),
}

#[derive(Debug, Default)]
struct Masks {
    made: HashMap<MaskKey, Tensor>,
    values: usize,
}

/// From, to, length, whether causal, window: all that a mask depends on.
type MaskKey = (usize, usize, usize, bool, Option<usize>);

impl Layout {
    /// The layout of a batch, for `heads` heads and at most `scores` scores at once.
    pub(super) fn new(cumulative: &[u32], heads: usize, scores: usize, device: &Device) -> candle_core::Result<Self> {
        let mut order: Vec<(usize, usize)> = cumulative
            .windows(2)
            .map(|pair| (pair[0] as usize, (pair[1] - pair[0]) as usize))
            .filter(|(_, len)| *len > 0)
            .collect();
        let longest = order.iter().map(|(_, len)| *len).max().unwrap_or(0);
        // By length, and those of one length as they stand.
        order.sort_by_key(|(start, len)| (std::cmp::Reverse(*len), *start));
        let tokens = cumulative.last().map_or(0, |last| *last as usize);
        let mut buckets = Vec::new();
        let mut back = vec![0_u32; tokens];
        let (mut at, mut same_place) = (0, true);
        for chunk in split(&order, heads, scores) {
            for (index, (start, len)) in chunk.iter().enumerate() {
                let place = at + index * chunk[0].1;
                same_place &= place == *start;
                for offset in 0..*len {
                    back[start + offset] = (place + offset) as u32;
                }
            }
            at += chunk.len() * chunk[0].1;
            buckets.push(Bucket::new(chunk, device)?);
        }
        // With padding at the very end all rows are in their places, but there are more.
        let back = if same_place && at == tokens { None } else { Some(Tensor::from_vec(back, tokens, device)?) };
        Ok(Layout {
            cumulative: cumulative.to_vec(),
            scores,
            buckets,
            back,
            positions: Tensor::arange(0_f32, longest as f32, device)?,
            masks: Mutex::default(),
        })
    }

    /// Whether this is the layout of the batch.
    pub(super) fn is_of(&self, cumulative: &[u32]) -> bool {
        self.cumulative == cumulative
    }

    /// What to add to the scores of queries `from..to` of sequences of `len` tokens: `[to - from, keys]`
    /// for the keys that [`AttentionShape::visible`] names; `None` if every query sees them all.
    ///
    /// Made on the device from the positions, kept for the other layers unless they are many.
    pub(super) fn mask(
        &self,
        shape: &AttentionShape,
        from: usize,
        to: usize,
        len: usize,
    ) -> candle_core::Result<Option<Tensor>> {
        if !shape.causal && shape.window.is_none() {
            return Ok(None);
        }
        let key = (from, to, len, shape.causal, shape.window);
        if let Some(mask) = lock(&self.masks).made.get(&key) {
            return Ok(Some(mask.clone()));
        }
        let visible = shape.visible(from, to, len);
        let count = visible.len() * (to - from);
        let queries = self.positions.narrow(0, from, to - from)?.unsqueeze(1)?;
        let keys = self.positions.narrow(0, visible.start, visible.len())?.unsqueeze(0)?;
        let ahead = keys.broadcast_sub(&queries)?;
        // How far a key lies beyond what is seen, on either side.
        let window = shape.window.map(|window| window as f64);
        let right = if shape.causal { Some(0.0) } else { window };
        let left = if shape.causal { window.map(|window| window - 1.0) } else { window };
        let beyond_right = right.map(|right| ahead.affine(1.0, -right)?.relu()).transpose()?;
        let beyond_left = left.map(|left| ahead.affine(-1.0, -left)?.relu()).transpose()?;
        let beyond = match (beyond_right, beyond_left) {
            (Some(right), Some(left)) => Some((right + left)?),
            (one, other) => one.or(other),
        };
        let Some(mask) = beyond.map(|beyond| beyond * f64::from(PENALTY)).transpose()? else { return Ok(None) };
        let mut masks = lock(&self.masks);
        if masks.values + count <= self.scores {
            masks.values += count;
            masks.made.insert(key, mask.clone());
        }
        Ok(Some(mask))
    }
}

impl Bucket {
    /// `sequences` are start and length, the longest first.
    fn new(sequences: &[(usize, usize)], device: &Device) -> candle_core::Result<Self> {
        let (start, len) = sequences[0];
        let count = sequences.len();
        let side_by_side =
            sequences.iter().enumerate().all(|(index, sequence)| *sequence == (start + index * len, len));
        if side_by_side {
            return Ok(Bucket { sequences: count, len, rows: Rows::From(start), padding: None });
        }
        let mut rows = Vec::with_capacity(count * len);
        let mut padding = Vec::with_capacity(count * len);
        for (start, own) in sequences {
            rows.extend((0..len).map(|at| if at < *own { start + at } else { *start } as u32));
            padding.extend((0..len).map(|at| if at < *own { 0.0 } else { PENALTY }));
        }
        let padded = padding.iter().any(|penalty| *penalty != 0.0);
        let padding = padded.then(|| Tensor::from_vec(padding, (count, 1, 1, len), device)).transpose()?;
        Ok(Bucket { sequences: count, len, rows: Rows::At(Tensor::from_vec(rows, count * len, device)?), padding })
    }
}

/// Cuts sequences, the longest first, into those that are handled together.
fn split(sequences: &[(usize, usize)], heads: usize, scores: usize) -> Vec<&[(usize, usize)]> {
    let mut chunks = Vec::new();
    let mut rest = sequences;
    while let Some((_, len)) = rest.first() {
        let room = (scores / (heads * len * len)).max(1);
        let near = |other: usize| other * 8 >= len * 7 || other + SLACK >= *len;
        let count = rest.iter().take(room).take_while(|(_, other)| near(*other)).count();
        let (chunk, others) = rest.split_at(count);
        chunks.push(chunk);
        rest = others;
    }
    chunks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn layout(lengths: &[u32], scores: usize) -> Layout {
        let mut cumulative = vec![0];
        for len in lengths {
            cumulative.push(cumulative.last().unwrap() + len);
        }
        Layout::new(&cumulative, 2, scores, &Device::Cpu).unwrap()
    }

    #[test]
    fn equal_lengths_need_no_gathering() {
        let layout = layout(&[128; 100], 1 << 26);
        assert_eq!(layout.buckets.len(), 1);
        assert!(layout.back.is_none());
        assert!(matches!(layout.buckets[0].rows, Rows::From(0)) && layout.buckets[0].padding.is_none());
    }

    #[test]
    fn every_row_comes_back_from_its_place() {
        let lengths = [3, 100, 96, 3, 1, 100, 40, 90];
        let layout = layout(&lengths, 1 << 20);
        let rows: Vec<u32> = layout
            .buckets
            .iter()
            .flat_map(|bucket| match &bucket.rows {
                Rows::From(start) => (*start as u32..(start + bucket.sequences * bucket.len) as u32).collect(),
                Rows::At(rows) => rows.to_vec1::<u32>().unwrap(),
            })
            .collect();
        let back = layout.back.as_ref().unwrap().to_vec1::<u32>().unwrap();
        let found: Vec<u32> = back.iter().map(|place| rows[*place as usize]).collect();
        assert_eq!(found, (0..lengths.iter().sum::<u32>()).collect::<Vec<_>>());
        // 100, 100, 96 and 90 together, 40 alone, the short ones together.
        let sizes: Vec<_> = layout.buckets.iter().map(|bucket| (bucket.sequences, bucket.len)).collect();
        assert_eq!(sizes, [(4, 100), (1, 40), (3, 3)]);
        let padding = layout.buckets[0].padding.as_ref().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(padding.iter().filter(|penalty| **penalty != 0.0).count(), 4 + 10);
    }

    #[test]
    fn padding_at_the_end_is_dropped() {
        let layout = layout(&[112, 110], 1 << 26);
        assert_eq!(layout.buckets.len(), 1);
        let back = layout.back.unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(back, (0..222).collect::<Vec<_>>());
    }

    #[test]
    fn buckets_keep_within_the_scores() {
        for bucket in &layout(&[10; 50], 2 * 10 * 10 * 7).buckets {
            assert!(bucket.sequences <= 7);
        }
    }

    #[test]
    fn masks_hide_what_the_shape_hides() {
        let layout = layout(&[60], 1 << 20);
        for causal in [true, false] {
            for window in [None, Some(1), Some(5), Some(100)] {
                let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 1, causal, window, norm_eps: 0.0 };
                for (from, to) in [(0, 60), (17, 33), (59, 60)] {
                    let visible = shape.visible(from, to, 60);
                    let mask = layout.mask(&shape, from, to, 60).unwrap();
                    let mask = mask.map(|mask| mask.to_vec2::<f32>().unwrap());
                    for query in from..to {
                        let seen = shape.visible(query, query + 1, 60);
                        for key in visible.clone() {
                            let hidden =
                                mask.as_ref().is_some_and(|mask| mask[query - from][key - visible.start] < 0.0);
                            assert_eq!(hidden, !seen.contains(&key), "{shape:?}, query {query}, key {key}");
                        }
                    }
                }
            }
        }
    }
}
