//! The best of many candidates of which only bounds are known, with as few exact scores as the bounds allow.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Something that may be among the best: its score lies in this interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Whose score it is: the caller's own number.
    pub id: u32,
    /// The least that the score may be.
    pub low: f32,
    /// The most that it may be.
    pub high: f32,
}

/// One of the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The candidate's number.
    pub id: u32,
    /// Its exact score.
    pub score: f32,
}

/// The `top` candidates of the highest exact scores, best first; equal scores in the order of `tie`.
///
/// `refine` narrows an interval at small cost, `exact` gives the score. A candidate is looked at exactly only while its
/// `high` reaches the score of the `top`-th best so far; since every score lies in its interval, no other can be among
/// the best.
///
/// # Errors
/// What `exact` fails with.
pub fn best<E>(
    candidates: impl Iterator<Item = Candidate>,
    top: usize,
    mut refine: impl FnMut(u32) -> (f32, f32),
    mut exact: impl FnMut(u32) -> Result<f32, E>,
    mut tie: impl FnMut(u32, u32) -> Ordering,
) -> Result<Vec<Ranked>, E> {
    if top == 0 {
        return Ok(Vec::new());
    }
    let mut kept = within_reach(candidates, top);
    for candidate in &mut kept {
        (candidate.low, candidate.high) = refine(candidate.id);
    }
    let mut kept = within_reach(kept.into_iter(), top);
    kept.sort_unstable_by(|a, b| b.high.total_cmp(&a.high).then(a.id.cmp(&b.id)));
    let mut found: Vec<Ranked> = Vec::new();
    let mut least = Least::new(top);
    for candidate in kept {
        if candidate.high < least.threshold() {
            break;
        }
        let score = exact(candidate.id)?;
        least.add(score);
        found.push(Ranked { id: candidate.id, score });
    }
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| tie(a.id, b.id)).then(a.id.cmp(&b.id)));
    found.truncate(top);
    Ok(found)
}

/// Those whose `high` reaches the `top`-th highest `low`.
fn within_reach(candidates: impl Iterator<Item = Candidate>, top: usize) -> Vec<Candidate> {
    let mut least = Least::new(top);
    let mut kept = Vec::new();
    for candidate in candidates {
        if candidate.high >= least.threshold() {
            least.add(candidate.low);
            kept.push(candidate);
        }
    }
    let threshold = least.threshold();
    kept.retain(|candidate| candidate.high >= threshold);
    kept
}

/// The `top`-th highest of the scores so far.
struct Least {
    top: usize,
    heap: BinaryHeap<Reverse<Total>>,
    threshold: f32,
}

impl Least {
    fn new(top: usize) -> Self {
        Least { top, heap: BinaryHeap::new(), threshold: f32::NEG_INFINITY }
    }

    /// Minus infinity while there are fewer.
    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn add(&mut self, score: f32) {
        if self.heap.len() < self.top {
            self.heap.push(Reverse(Total(score)));
        } else if score > self.threshold {
            self.heap.pop();
            self.heap.push(Reverse(Total(score)));
        }
        if self.heap.len() == self.top
            && let Some(Reverse(Total(least))) = self.heap.peek()
        {
            self.threshold = *least;
        }
    }
}

#[derive(PartialEq)]
struct Total(f32);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn naive(scores: &[f32], top: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..scores.len() as u32).collect();
        ids.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(b.cmp(a)));
        ids.truncate(top);
        ids
    }

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            // Few different scores, so that there are many ties; intervals of any width around them.
            scores in proptest::collection::vec((0u8..30, 0f32..5.0, 0f32..5.0, 0f32..1.0), 0..200),
            top in 0usize..20,
        ) {
            let exact: Vec<f32> = scores.iter().map(|(score, ..)| f32::from(*score)).collect();
            let candidates = scores.iter().enumerate().map(|(id, (score, below, above, _))| {
                let score = f32::from(*score);
                Candidate { id: id as u32, low: score - below, high: score + above }
            });
            let refine = |id: u32| {
                let (score, below, above, narrower) = scores[id as usize];
                (f32::from(score) - below * narrower, f32::from(score) + above * narrower)
            };
            let score = |id: u32| Ok::<_, Infallible>(exact[id as usize]);
            let found = best(candidates, top, refine, score, |a, b| b.cmp(&a)).unwrap();
            prop_assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), naive(&exact, top));
        }
    }

    #[test]
    fn only_what_may_be_among_the_best_is_looked_at() {
        let candidates = (0..1000u32).map(|id| {
            let score = id as f32;
            Candidate { id, low: score - 3.0, high: score + 3.0 }
        });
        let mut looked = 0;
        let exact = |id: u32| {
            looked += 1;
            Ok::<_, Infallible>(id as f32)
        };
        let refine = |id: u32| (id as f32 - 1.0, id as f32 + 1.0);
        let found = best(candidates, 10, refine, exact, |a, b| a.cmp(&b)).unwrap();
        assert_eq!(found[0].id, 999);
        assert!(looked <= 12, "{looked}");
    }
}
