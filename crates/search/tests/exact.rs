//! The best hits are those of a naive scan of the full vectors, in f64.

#![allow(clippy::unwrap_used)]

mod support;

use embedding_engine::Cancel;
use embedding_engine::engine::OnEvent;
use embedding_engine_search::embedder::{Done, Embedded, Embedder, Purpose};
use embedding_engine_search::{Index, QueryOptions, UpdateOptions};
use support::Place;

/// Gives vectors by the number in a text (`# 17`), or the query's own.
#[derive(Clone)]
struct Given {
    vectors: Vec<Vec<f32>>,
    query: Vec<f32>,
}

impl Embedder for Given {
    fn embed(&self, purpose: Purpose, texts: Vec<String>, _: Option<&str>, _: &Cancel, _: Option<OnEvent>, done: Done) {
        let number = |text: &str| text.trim_start_matches("# ").split_whitespace().next()?.parse::<usize>().ok();
        let vector = |text: &String| match purpose {
            Purpose::Query => self.query.clone(),
            Purpose::Document => number(text).map_or_else(|| self.vectors[0].clone(), |n| self.vectors[n].clone()),
        };
        let vectors = texts.iter().flat_map(vector).collect();
        done(Ok(Embedded { vectors, dimensions: self.query.len(), space: "given".to_owned(), tokens: 1 }));
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of unit length.
    fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        let gauss: Vec<f64> = (0..dimensions).map(|_| (0..6).map(|_| self.next()).sum::<f64>() - 3.0).collect();
        unit(&gauss)
    }

    fn near(&mut self, vector: &[f32], distance: f64) -> Vec<f32> {
        let moved: Vec<f64> = vector.iter().map(|value| f64::from(*value) + distance * (self.next() - 0.5)).collect();
        unit(&moved)
    }
}

fn unit(vector: &[f64]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    vector.iter().map(|value| (value / length) as f32).collect()
}

/// Searches through vectors, and compares with the naive way.
fn check(vectors: Vec<Vec<f32>>, queries: &[Vec<f32>], top: usize, what: &str) {
    // One section a vector, so one chunk each, a hundred in a file.
    let files: Vec<(String, String)> = (0..vectors.len())
        .collect::<Vec<_>>()
        .chunks(100)
        .map(|numbers| {
            let text = numbers.iter().map(|number| format!("# {number}\n\ntext\n\n")).collect();
            (format!("{:06}.md", numbers[0]), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let place = Place::new(&files);
    for query in queries {
        let given = Given { vectors: vectors.clone(), query: query.clone() };
        let index =
            Index::open(place.folder.path(), &place.store(), Box::new(given), UpdateOptions::default()).unwrap();
        assert_eq!(support::update(&index).chunks as usize, vectors.len(), "{what}");
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32;
        let mut naive: Vec<(usize, f32)> = vectors.iter().map(|vector| dot(query, vector)).enumerate().collect();
        // Path and line rise with the number.
        naive.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        naive.truncate(top);
        let options = QueryOptions { top, hybrid: false, ..QueryOptions::default() };
        let found: Vec<(usize, f32)> = support::query(&index, "q", &options)
            .into_iter()
            .map(|hit| (hit.text.lines().next().unwrap()[2..].parse().unwrap(), hit.score))
            .collect();
        assert_eq!(found, naive, "{what}");
    }
}

#[test]
fn random_vectors_of_any_width() {
    let mut random = Random(1);
    for dimensions in [1, 3, 64, 100, 384] {
        let vectors = (0..1500).map(|_| random.vector(dimensions)).collect();
        let queries: Vec<_> = (0..3).map(|_| random.vector(dimensions)).collect();
        check(vectors, &queries, 10, &format!("{dimensions} dimensions"));
    }
}

#[test]
fn near_ties_and_duplicates() {
    let mut random = Random(2);
    let centre = random.vector(384);
    for distance in [1e-2, 1e-4, 1e-6, 0.0] {
        let vectors = (0..800).map(|_| random.near(&centre, distance)).collect();
        let query = random.near(&centre, 1e-3);
        check(vectors, &[query, centre.clone()], 20, &format!("{distance} apart"));
    }
}

#[test]
fn one_large_component_hides_the_others_from_the_codes() {
    // All that differs is far below a step of the codes.
    let mut random = Random(3);
    let spiked = |random: &mut Random| {
        let mut vector: Vec<f64> = (0..128).map(|_| (random.next() - 0.5) * 1e-3).collect();
        vector[7] = 1.0;
        unit(&vector)
    };
    let vectors = (0..1000).map(|_| spiked(&mut random)).collect();
    let mut query: Vec<f64> = (0..128).map(|_| random.next() - 0.5).collect();
    query[7] = 0.0;
    check(vectors, &[unit(&query)], 10, "spikes");
}

#[test]
fn tiny_scales_and_other_lengths() {
    let mut random = Random(4);
    for scale in [1e-30f32, 1e-10, 1e5] {
        let vectors = (0..500).map(|_| random.vector(96).iter().map(|value| value * scale).collect()).collect();
        let query = random.vector(96);
        check(vectors, &[query], 10, &format!("scale {scale}"));
    }
    // Lengths of all sizes beside each other.
    let vectors = (0..500)
        .map(|_| {
            let scale = 10f32.powf((random.next() * 8.0 - 6.0) as f32);
            random.vector(96).iter().map(|value| value * scale).collect()
        })
        .collect();
    let query = random.vector(96);
    check(vectors, &[query], 10, "mixed lengths");
}
