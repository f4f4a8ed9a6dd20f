//! Batches, dropout and random numbers.

use std::collections::HashSet;

use super::super::Bag;
use super::super::batches::{in_blocks, plan, shuffled};
use super::super::minibatch::{ByToken, Dropout, Minibatch};
use super::super::random::Random;
use super::bags;

#[test]
fn groups_never_share_a_batch() {
    // A third are alone, the others of 40 groups of uneven size.
    let group = |example: usize| {
        if example.is_multiple_of(3) { example as u64 } else { 5_000_000 + (example * example % 40) as u64 }
    };
    for seed in 0..5 {
        let batches = plan(shuffled(3_000, &mut Random::at(seed, &[])), 64, 2, group);
        let mut seen = HashSet::new();
        for batch in &batches {
            let groups: HashSet<_> = batch.iter().map(|example| group(*example as usize)).collect();
            assert_eq!(groups.len(), batch.len());
            assert!(batch.len() >= 32 && batch.len() <= 64, "{}", batch.len());
            assert!(batch.iter().all(|example| seen.insert(*example)), "an example twice in an epoch");
        }
        assert!(batches.len() > 15, "{} batches", batches.len());
    }
}

#[test]
fn blocks_hold_one_cluster() {
    let cluster = |example: usize| (example % 7) as u64;
    let mut random = Random::at(1, &[]);
    let order = in_blocks(700, 16, cluster, &mut random);
    assert_eq!(order.iter().collect::<HashSet<_>>().len(), 700);
    // 100 of a cluster are six blocks of 16 and one of 4; two blocks of one cluster may meet.
    let runs: Vec<usize> = order.chunk_by(|a, b| a % 7 == b % 7).map(<[u32]>::len).collect();
    assert!(runs.iter().all(|run| run % 4 == 0) && runs.len() > 30, "{runs:?}");
    assert_ne!(in_blocks(700, 16, cluster, &mut random), order);
    assert_eq!(in_blocks(9, 1, cluster, &mut Random::at(2, &[])), shuffled(9, &mut Random::at(2, &[])));
}

#[test]
fn all_examples_come_up_if_nothing_clashes() {
    let batches = plan(shuffled(1_000, &mut Random::at(1, &[])), 64, 2, |example| example as u64);
    // 15 · 64 = 960; 40 is more than a half.
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [vec![64; 15], vec![40]].concat());
    assert_eq!(batches.concat().into_iter().collect::<HashSet<_>>().len(), 1_000);
    assert_ne!(batches.concat(), (0..1_000).collect::<Vec<_>>());
    // 31 are less than a half, and sit out; alone they are all there is.
    assert_eq!(plan(shuffled(95, &mut Random::at(1, &[])), 64, 2, |example| example as u64).len(), 1);
    assert_eq!(plan(shuffled(31, &mut Random::at(1, &[])), 64, 2, |example| example as u64).concat().len(), 31);
    assert!(plan(shuffled(9, &mut Random::at(1, &[])), 64, 2, |_| 3).is_empty());
    assert!(plan(shuffled(0, &mut Random::at(1, &[])), 64, 1, |_| 3).is_empty());
}

fn dropped(bag: &Bag, dropout: Dropout, seed: u64) -> Bag {
    let mut batch = Minibatch::default();
    batch.push(bag, dropout, &mut Random::at(seed, &[]));
    let (ids, counts) = batch.text(0);
    Bag { ids: ids.into(), counts: counts.into() }
}

#[test]
fn dropout_leaves_the_right_share() {
    let bag = Bag::of(&(0..1_000).flat_map(|id| [id, id, id]).collect::<Vec<u32>>());
    let tokens = dropped(&bag, Dropout { rate: 0.3, occurrences: false }, 1);
    assert!((650..750).contains(&tokens.ids.len()), "{}", tokens.ids.len());
    assert!(tokens.counts.iter().all(|count| *count == 3.0));
    let occurrences = dropped(&bag, Dropout { rate: 0.3, occurrences: true }, 1);
    let left: f32 = occurrences.counts.iter().sum();
    assert!((2_000.0..2_200.0).contains(&left), "{left}");
    // All three are gone in 2.7 %.
    assert!((955..990).contains(&occurrences.ids.len()), "{}", occurrences.ids.len());
    assert!(occurrences.counts.contains(&1.0) && occurrences.counts.contains(&2.0));
    assert_eq!(dropped(&bag, Dropout { rate: 0.0, occurrences: true }, 1), bag);
    let large = Bag { ids: [4].into(), counts: [1e6].into() };
    let large = dropped(&large, Dropout { rate: 0.3, occurrences: true }, 1).counts[0];
    assert!((4e5..9.5e5).contains(&large), "{large}");
}

#[test]
fn dropout_never_leaves_a_text_empty() {
    let bag = Bag::of(&[3, 5, 5]);
    let mut kept = HashSet::new();
    for occurrences in [false, true] {
        for seed in 0..200 {
            let left = dropped(&bag, Dropout { rate: 0.99, occurrences }, seed);
            assert_eq!(left.ids.len(), left.counts.len());
            assert!(!left.ids.is_empty() && left.counts.iter().all(|count| *count >= 1.0));
            kept.insert(left.ids[0]);
        }
    }
    assert_eq!(kept.len(), 2, "the one that is kept is not always the same");
}

#[test]
fn tokens_list_their_texts_in_order() {
    let texts = bags(50, 9, 17, 1);
    let mut batch = Minibatch::default();
    let none = Dropout { rate: 0.0, occurrences: false };
    texts.iter().for_each(|text| batch.push(text, none, &mut Random::at(0, &[])));
    let mut by_token = ByToken::default();
    by_token.fill(&batch, 20);
    for token in 0..20 {
        let expected: Vec<(u32, f32)> = texts
            .iter()
            .enumerate()
            .flat_map(|(index, text)| {
                text.ids
                    .iter()
                    .zip(&text.counts)
                    .filter(|(id, _)| **id == token)
                    .map(move |(_, count)| (index as u32, *count))
            })
            .collect();
        assert_eq!(by_token.entries(token as usize), expected);
    }
}

#[test]
fn random_numbers_are_those_of_splitmix64() {
    // The reference implementation's first values for the state 1234567 (S. Vigna, splitmix64.c).
    let mut random = Random::from_state(1_234_567);
    assert_eq!(
        [random.next(), random.next(), random.next()],
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,]
    );
    let mut random = Random::at(5, &[1, 2]);
    let values: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
    let mean = values.iter().sum::<f64>() / 1e5;
    let variance = values.iter().map(|x| x * x).sum::<f64>() / 1e5;
    assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "mean {mean}, variance {variance}");
    assert_ne!(Random::at(5, &[1, 2]).next(), Random::at(5, &[2, 1]).next());
    assert!((0..1_000).all(|_| random.below(3) < 3));
}
