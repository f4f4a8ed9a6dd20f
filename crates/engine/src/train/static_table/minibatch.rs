//! The tokens of one step: by text for the sums, by token for the gradients.

use super::bag::Bag;
use super::random::Random;

/// Which tokens of a text are left out of a step.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    /// Probability.
    pub(super) rate: f32,
    /// Each occurrence by itself.
    pub(super) occurrences: bool,
}

/// Texts of a step, one after another.
#[derive(Default)]
pub(super) struct Minibatch {
    ends: Vec<usize>,
    ids: Vec<u32>,
    counts: Vec<f32>,
}

impl Minibatch {
    /// Removes all texts.
    pub(super) fn clear(&mut self) {
        self.ends.clear();
        self.ids.clear();
        self.counts.clear();
    }

    /// Adds what dropout leaves of `bag`: at least one occurrence of one token.
    ///
    /// What is left is not scaled up, as the vectors get unit length anyway.
    pub(super) fn push(&mut self, bag: &Bag, dropout: Dropout, random: &mut Random) {
        let start = self.ids.len();
        for (id, count) in bag.ids.iter().zip(&bag.counts) {
            let count = match dropout {
                Dropout { rate: 0.0, .. } => *count,
                Dropout { rate, occurrences: true } => thin(*count, rate, random),
                Dropout { rate, .. } => f32::from(u8::from(!random.chance(rate))) * count,
            };
            if count > 0.0 {
                self.ids.push(*id);
                self.counts.push(count);
            }
        }
        if self.ids.len() == start && !bag.ids.is_empty() {
            let kept = random.below(bag.ids.len());
            self.ids.push(bag.ids[kept]);
            self.counts.push(if dropout.occurrences { bag.counts[kept].min(1.0) } else { bag.counts[kept] });
        }
        self.ends.push(self.ids.len());
    }

    /// Number of texts.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Ids and counts of one text.
    pub(super) fn text(&self, index: usize) -> (&[u32], &[f32]) {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let range = start..self.ends[index];
        (&self.ids[range.clone()], &self.counts[range])
    }
}

/// Occurrences above this share one coin each: drawing a million would only cost time.
const COINS: f32 = 64.0;

/// How much of `count` stays when each occurrence is dropped by itself; a fraction is an occurrence too.
fn thin(count: f32, rate: f32, random: &mut Random) -> f32 {
    let size = (count / COINS).max(1.0);
    let coins = (count / size).ceil() as usize;
    let mut left = count;
    let mut kept = 0.0;
    for _ in 0..coins {
        let size = size.min(left);
        left -= size;
        if !random.chance(rate) {
            kept += size;
        }
    }
    kept
}

/// The same tokens by token: for each, the texts that have it, in the order of the texts, and its count
/// in each.
#[derive(Default)]
pub(super) struct ByToken {
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl ByToken {
    /// Sorts `batch` by token (counting sort, stable).
    pub(super) fn fill(&mut self, batch: &Minibatch, vocabulary: usize) {
        self.starts.clear();
        self.starts.resize(vocabulary + 2, 0);
        for id in &batch.ids {
            self.starts[*id as usize + 2] += 1;
        }
        for token in 2..self.starts.len() {
            self.starts[token] += self.starts[token - 1];
        }
        self.entries.clear();
        self.entries.resize(batch.ids.len(), (0, 0.0));
        for text in 0..batch.len() {
            let (ids, counts) = batch.text(text);
            for (id, count) in ids.iter().zip(counts) {
                // One place ahead: when all are placed, this is where the next token starts.
                let place = &mut self.starts[*id as usize + 1];
                self.entries[*place] = (text as u32, *count);
                *place += 1;
            }
        }
    }

    /// Texts with `token` and its count there.
    pub(super) fn entries(&self, token: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[token]..self.starts[token + 1]]
    }
}
