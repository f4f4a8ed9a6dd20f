//! The trainer against independent computations in f64, and its promises.

#![allow(clippy::unwrap_used)]

mod adam;
mod batches;
mod gradients;
mod naive;
mod refused;
mod table;
mod training;

use super::{Bag, Example, FitOptions, Table};
use crate::train::static_table::random::Random;

/// Random bags of `tokens` draws from a vocabulary.
fn bags(count: usize, tokens: usize, vocabulary: usize, seed: u64) -> Vec<Bag> {
    let mut random = Random::at(seed, &[99]);
    let mut draw = || (0..tokens).map(|_| random.below(vocabulary) as u32).collect::<Vec<_>>();
    (0..count).map(|_| Bag::of(&draw())).collect()
}

/// A table with weights that differ, so that nothing cancels out.
fn uneven_table(vocabulary: usize, width: usize, seed: u64) -> Table {
    let mut table = Table::random(vocabulary, width, seed);
    let mut random = Random::at(seed, &[98]);
    table.weights.iter_mut().for_each(|weight| *weight = 0.5 + random.unit() as f32);
    table
}

/// Pairs to learn: query and document of a topic have no token in common, so that an untrained table knows nothing.
/// Topic t is asked by tokens of {8t..8t+4} and answered by tokens of {8t+4..8t+8}; tokens from 8 · topics on are noise.
fn toy(topics: usize, pairs: usize, seed: u64) -> (Vec<Example>, usize) {
    let mut random = Random::at(seed, &[97]);
    let vocabulary = 8 * topics + 16;
    let mut text = |from: usize| {
        let topic: Vec<u32> = (0..4).map(|_| (from + random.below(4)) as u32).collect();
        let noise: Vec<u32> = (0..2).map(|_| (8 * topics + random.below(16)) as u32).collect();
        Bag::of(&[topic, noise].concat())
    };
    let example = |pair: usize| {
        let topic = pair % topics;
        Example { query: text(8 * topic), document: text(8 * topic + 4), group: topic as u64, cluster: 0 }
    };
    ((0..pairs).map(example).collect(), vocabulary)
}

/// Options for tables of 32 dimensions.
fn toy_options() -> FitOptions {
    FitOptions {
        epochs: 12,
        batch: 16,
        learning_rate: 1e-2,
        weight_learning_rate: 5e-3,
        widths: vec![(32, 1.0), (16, 0.5), (8, 0.25)],
        seed: 7,
        ..FitOptions::default()
    }
}
