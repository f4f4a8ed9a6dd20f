//! NDCG@10 on held-out packages, within each: what choices are made by.

use std::collections::BTreeMap;

use embedding_engine::train::static_table::{Example, Table};
use rayon::prelude::*;

use super::corpus::Pair;

/// Examples by package.
pub struct Dev<'a> {
    packages: BTreeMap<&'a str, Vec<&'a Example>>,
}

impl<'a> Dev<'a> {
    /// `examples` are those of `pairs`, in order.
    pub fn new(pairs: &'a [Pair], examples: &'a [Example]) -> Self {
        let mut packages: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
        for (pair, example) in pairs.iter().zip(examples) {
            packages.entry(&pair.package).or_default().push(example);
        }
        Dev { packages }
    }

    /// The mean over all queries, with the vectors cut to `width`.
    pub fn ndcg(&self, table: &Table, width: usize) -> f64 {
        let all: Vec<f64> = self.packages.values().flat_map(|examples| of_package(examples, table, width)).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }

    /// The mean over the queries of each package.
    pub fn by_package(&self, table: &Table) -> Vec<(String, f64)> {
        let mean = |all: Vec<f64>| all.iter().sum::<f64>() / all.len().max(1) as f64;
        let packages = self.packages.iter();
        packages.map(|(name, examples)| ((*name).to_owned(), mean(of_package(examples, table, table.width)))).collect()
    }
}

fn of_package(examples: &[&Example], table: &Table, width: usize) -> Vec<f64> {
    let embed = |bag| {
        let mut vector = vec![0f32; table.width];
        table.embed(bag, &mut vector);
        vector.truncate(width);
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        vector.iter_mut().for_each(|x| *x /= norm);
        vector
    };
    let documents: Vec<Vec<f32>> = examples.par_iter().map(|example| embed(&example.document)).collect();
    examples
        .par_iter()
        .enumerate()
        .map(|(own, example)| {
            let query = embed(&example.query);
            let score = |document: &[f32]| query.iter().zip(document).map(|(a, b)| a * b).sum::<f32>();
            let right = score(&documents[own]);
            // Ties are rare in f32; they count against us.
            let rank = documents.iter().enumerate().filter(|(other, d)| *other != own && score(d) >= right).count();
            if rank < 10 { 1.0 / (rank as f64 + 2.0).log2() } else { 0.0 }
        })
        .collect()
}
