//! How good one ranking is: NDCG@10, MRR@10, Recall@1, 10 and 100, as trec_eval and BEIR compute them.
//!
//! Documents with equal scores have no order. Each figure is its exact expectation over all orders of them, so that
//! it depends neither on a sort nor on the order of the files, and a system that gives all the same score has the
//! figures of chance.

use serde::Serialize;

/// As deep as NDCG and MRR look.
const DEPTH: usize = 10;

/// The figures of a ranking, or their mean over queries; each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics<T = f64> {
    /// Discounted gain of the first ten, over that of the best order: gain = relevance, discount = log2(rank + 1).
    pub ndcg10: T,
    /// One over the rank of the first relevant document, 0 beyond the tenth.
    pub mrr10: T,
    /// Share of the relevant documents that stands first.
    pub recall1: T,
    /// Share of the relevant documents among the first ten.
    pub recall10: T,
    /// Share of the relevant documents among the first hundred.
    pub recall100: T,
}

/// How many figures [`Metrics`] has.
pub(super) const COUNT: usize = 5;

impl<T: Copy> Metrics<T> {
    /// All figures, in their order.
    pub fn values(&self) -> [T; COUNT] {
        [self.ndcg10, self.mrr10, self.recall1, self.recall10, self.recall100]
    }

    /// From all figures in their order.
    pub fn from_values([ndcg10, mrr10, recall1, recall10, recall100]: [T; COUNT]) -> Self {
        Metrics { ndcg10, mrr10, recall1, recall10, recall100 }
    }
}

/// A judgement: how relevant a document is to a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Its place among the documents; `None` for one that is not there (it counts, and cannot be found).
    pub document: Option<usize>,
    /// Its relevance, above 0.
    pub gain: f64,
}

/// Documents with one score, at least one of which is relevant.
#[derive(Debug, Default, Clone)]
struct Level {
    /// Documents with a higher score.
    above: usize,
    /// Documents with this score.
    size: usize,
    /// The gains of the relevant ones.
    gains: Vec<f64>,
}

/// The figures of the ranking of documents by `scores`, highest first. `relevant` names documents by their place in
/// `scores`; one at `without` is taken out of the ranking. All figures are 0 where nothing is relevant.
pub fn of_ranking(scores: &[f32], relevant: &[Judged], without: Option<usize>) -> Metrics {
    of_levels(&levels(scores, relevant, without), relevant)
}

/// The figures of a ranking in which the relevant documents have the given ranks, from 1; `None` for one that was not
/// found.
pub fn of_ranks(ranks: &[Option<usize>]) -> Metrics {
    let mut found: Vec<usize> = ranks.iter().flatten().copied().collect();
    found.sort_unstable();
    let level = |rank: usize| Level { above: rank.saturating_sub(1), size: 1, gains: vec![1.0] };
    let levels: Vec<Level> = found.into_iter().map(level).collect();
    of_levels(&levels, &vec![Judged { document: None, gain: 1.0 }; ranks.len()])
}

/// The figures of an order by chance of `documents`.
pub fn of_chance(documents: usize, relevant: &[Judged]) -> Metrics {
    let gains: Vec<f64> =
        relevant.iter().filter(|judged| judged.document.is_some()).map(|judged| judged.gain).collect();
    let level = Level { above: 0, size: documents, gains };
    of_levels(&[level], relevant)
}

/// The scores of the relevant documents, highest first, with how many documents have them and more.
fn levels(scores: &[f32], relevant: &[Judged], without: Option<usize>) -> Vec<Level> {
    let mut found: Vec<(f32, f64)> = relevant
        .iter()
        .filter_map(|judged| {
            judged.document.filter(|&document| Some(document) != without).map(|d| (scores[d], judged.gain))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut bounds: Vec<f32> = Vec::with_capacity(found.len());
    let mut levels: Vec<Level> = Vec::with_capacity(found.len());
    for (score, gain) in found {
        if bounds.last() != Some(&score) {
            bounds.push(score);
            levels.push(Level::default());
        }
        if let Some(level) = levels.last_mut() {
            level.gains.push(gain);
        }
    }
    // `above` counts those between this level and the one before until all are counted.
    let mut count = |score: f32, by: usize, add: bool| {
        let at = bounds.partition_point(|bound| *bound > score);
        if let Some(level) = levels.get_mut(at) {
            let number = if bounds[at] == score { &mut level.size } else { &mut level.above };
            *number = if add { *number + by } else { *number - by };
        }
    };
    scores.iter().for_each(|score| count(*score, 1, true));
    if let Some(&score) = without.and_then(|document| scores.get(document)) {
        count(score, 1, false);
    }
    let mut above = 0;
    for level in &mut levels {
        level.above += above;
        above = level.above + level.size;
    }
    levels
}

fn of_levels(levels: &[Level], relevant: &[Judged]) -> Metrics {
    let ideal = ideal(relevant);
    if ideal <= 0.0 {
        return Metrics::default();
    }
    let dcg: f64 = levels.iter().map(|level| level.gains.iter().sum::<f64>() * mean_discount(level)).sum();
    let recall = |depth: usize| {
        let found = levels.iter().map(|level| level.gains.len() as f64 * share_within(level, depth));
        found.sum::<f64>() / relevant.len() as f64
    };
    Metrics {
        ndcg10: dcg / ideal,
        mrr10: levels.iter().find(|level| !level.gains.is_empty()).map_or(0.0, reciprocal_rank),
        recall1: recall(1),
        recall10: recall(10),
        recall100: recall(100),
    }
}

/// The gain of the best order.
fn ideal(relevant: &[Judged]) -> f64 {
    let mut gains: Vec<f64> = relevant.iter().map(|judged| judged.gain).collect();
    gains.sort_by(|a, b| b.total_cmp(a));
    gains.iter().take(DEPTH).enumerate().map(|(at, gain)| gain * discount(at + 1)).sum()
}

fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

/// What a document of the level is discounted by, on average: each place of the level is as likely as the others.
fn mean_discount(level: &Level) -> f64 {
    let last = (level.above + level.size).min(DEPTH);
    (level.above + 1..=last).map(discount).sum::<f64>() / level.size.max(1) as f64
}

/// How likely a document of the level is among the first `depth`.
fn share_within(level: &Level, depth: usize) -> f64 {
    depth.saturating_sub(level.above).min(level.size) as f64 / level.size.max(1) as f64
}

/// One over the rank of the first of the relevant ones in a level of random order: the first of `r` among `t` stands
/// at `j` with probability C(t − j, r − 1) / C(t, r).
fn reciprocal_rank(level: &Level) -> f64 {
    let (tied, relevant) = (level.size as f64, level.gains.len() as f64);
    let mut probability = relevant / tied.max(1.0);
    let mut expected = 0.0;
    for place in 1..=level.size.min(DEPTH.saturating_sub(level.above)) {
        expected += probability / (level.above + place) as f64;
        let left = tied - place as f64;
        probability *= if left > 0.0 { ((left - relevant + 1.0) / left).max(0.0) } else { 0.0 };
    }
    expected
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn judged(pairs: &[(usize, f64)]) -> Vec<Judged> {
        pairs.iter().map(|&(document, gain)| Judged { document: Some(document), gain }).collect()
    }

    /// By the definitions, of one strict order.
    fn naive(order: &[usize], relevant: &[Judged]) -> [f64; COUNT] {
        let gain = |document: usize| relevant.iter().find(|j| j.document == Some(document)).map_or(0.0, |j| j.gain);
        let dcg = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
            gains.take(10).enumerate().map(|(at, gain)| gain / ((at + 2) as f64).log2()).sum()
        };
        let mut best: Vec<f64> = relevant.iter().map(|j| j.gain).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        let first = order.iter().position(|&document| gain(document) > 0.0);
        let recall = |depth: usize| {
            order.iter().take(depth).filter(|&&document| gain(document) > 0.0).count() as f64 / relevant.len() as f64
        };
        [
            dcg(&mut order.iter().map(|&document| gain(document))) / dcg(&mut best.into_iter()),
            first.filter(|&at| at < 10).map_or(0.0, |at| 1.0 / (at + 1) as f64),
            recall(1),
            recall(10),
            recall(100),
        ]
    }

    fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for (at, &first) in items.iter().enumerate() {
            let mut rest = items.to_vec();
            rest.remove(at);
            all.extend(permutations(&rest).into_iter().map(|mut tail| {
                tail.insert(0, first);
                tail
            }));
        }
        all
    }

    /// The mean over all orders that agree with the scores.
    fn enumerated(scores: &[f32], relevant: &[Judged]) -> [f64; COUNT] {
        let documents: Vec<usize> = (0..scores.len()).collect();
        let orders: Vec<Vec<usize>> = permutations(&documents)
            .into_iter()
            .filter(|order| order.windows(2).all(|pair| scores[pair[0]] >= scores[pair[1]]))
            .collect();
        let mut mean = [0.0; COUNT];
        for order in &orders {
            for (sum, value) in mean.iter_mut().zip(naive(order, relevant)) {
                *sum += value / orders.len() as f64;
            }
        }
        mean
    }

    fn assert_close(actual: Metrics, expected: [f64; COUNT]) {
        for (actual, expected) in actual.values().into_iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-12, "{actual} instead of {expected}");
        }
    }

    #[test]
    fn figures_by_hand() {
        // The relevant one second: 1 / log2(3).
        let second = of_ranking(&[0.9, 0.8, 0.1], &judged(&[(1, 1.0)]), None);
        assert_close(second, [1.0 / 3f64.log2(), 0.5, 0.0, 1.0, 1.0]);
        // Graded: order 1, 3 of gains 3, 1.
        let graded = of_ranking(&[0.1, 0.9, 0.5], &judged(&[(0, 3.0), (1, 1.0)]), None);
        let ideal = 3.0 + 1.0 / 3f64.log2();
        assert_close(graded, [(1.0 + 3.0 / 2.0) / ideal, 1.0, 0.5, 1.0, 1.0]);
        // Of two relevant ones, one is not among the documents.
        let missing = [Judged { document: Some(0), gain: 1.0 }, Judged { document: None, gain: 1.0 }];
        assert_close(of_ranking(&[1.0], &missing, None), [1.0 / (1.0 + 1.0 / 3f64.log2()), 1.0, 0.5, 0.5, 0.5]);
        assert_close(of_ranking(&[1.0, 2.0], &[], None), [0.0; COUNT]);
    }

    #[test]
    fn beyond_ten_and_beyond_a_hundred() {
        let scores: Vec<f32> = (0..200).map(|at| -(at as f32)).collect();
        for (at, mrr, r10, r100) in [(9, 0.1, 1.0, 1.0), (10, 0.0, 0.0, 1.0), (99, 0.0, 0.0, 1.0), (100, 0.0, 0.0, 0.0)]
        {
            let metrics = of_ranking(&scores, &judged(&[(at, 1.0)]), None);
            assert_eq!((metrics.mrr10, metrics.recall10, metrics.recall100), (mrr, r10, r100), "{at}");
        }
    }

    #[test]
    fn ranks_are_a_ranking() {
        let scores = [0.1, 0.9, 0.5, 0.7];
        let mut relevant = judged(&[(2, 1.0), (1, 1.0)]);
        relevant.push(Judged { document: None, gain: 1.0 });
        assert_close(of_ranks(&[Some(3), Some(1), None]), of_ranking(&scores, &relevant, None).values());
        assert_close(of_ranks(&[]), [0.0; COUNT]);
        assert_close(of_ranks(&[None]), [0.0; COUNT]);
    }

    #[test]
    fn a_document_is_taken_out() {
        let relevant = judged(&[(2, 1.0)]);
        assert_eq!(
            of_ranking(&[3.0, 2.0, 1.0], &relevant, Some(0)),
            of_ranking(&[2.0, 1.0], &judged(&[(1, 1.0)]), None)
        );
    }

    #[test]
    fn chance_is_what_equal_scores_give() {
        let relevant = judged(&[(3, 1.0), (40, 2.0)]);
        let (chance, equal) = (of_chance(500, &relevant), of_ranking(&[0.5; 500], &relevant, None));
        assert_close(chance, equal.values());
        assert!((chance.recall10 - 10.0 / 500.0).abs() < 1e-12 && (chance.recall1 - 1.0 / 500.0).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn ties_are_the_mean_over_all_orders(
            scores in prop::collection::vec(0u8..3, 1..7),
            gains in prop::collection::vec(0u8..4, 7),
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let relevant: Vec<Judged> = gains.iter().take(scores.len()).enumerate().filter(|(_, gain)| **gain > 0)
                .map(|(document, gain)| Judged { document: Some(document), gain: f64::from(*gain) }).collect();
            prop_assume!(!relevant.is_empty());
            let expected = enumerated(&scores, &relevant);
            for (actual, expected) in of_ranking(&scores, &relevant, None).values().into_iter().zip(expected) {
                prop_assert!((actual - expected).abs() < 1e-12, "{} instead of {}", actual, expected);
            }
        }

        #[test]
        fn ties_across_the_tenth_place(above in 4usize..12, tied in 1usize..5, relevant in 1usize..4) {
            // Enumerated over which of the tied places the relevant ones have; all that is above is not relevant.
            let relevant = relevant.min(tied);
            let scores: Vec<f32> = (0..above + tied).map(|at| if at < above { 1.0 } else { 0.0 }).collect();
            let judged: Vec<Judged> =
                (above..above + relevant).map(|d| Judged { document: Some(d), gain: 1.0 }).collect();
            let orders = permutations(&(above..above + tied).collect::<Vec<_>>());
            let mut mean = [0.0; COUNT];
            for order in &orders {
                let whole: Vec<usize> = (0..above).chain(order.iter().copied()).collect();
                for (sum, value) in mean.iter_mut().zip(naive(&whole, &judged)) {
                    *sum += value / orders.len() as f64;
                }
            }
            for (actual, expected) in of_ranking(&scores, &judged, None).values().into_iter().zip(mean) {
                prop_assert!((actual - expected).abs() < 1e-12, "{} instead of {}", actual, expected);
            }
        }
    }
}
