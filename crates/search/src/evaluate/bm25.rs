//! BM25 in memory, over the sub-tokens of identifiers: the baseline that a model has to beat, and its other half in
//! a hybrid. Whole tokens would be a straw man: in code they lose a third of what this finds.

use std::collections::HashMap;
use std::ops::Range;

use crate::bm25::{gain, rarity};
use crate::subtokens;

/// Documents to be ranked, by their words. Holds word counts, not the texts.
#[derive(Debug, Clone, Default)]
pub struct Bm25 {
    words: HashMap<String, u32>,
    /// For each word the documents that have it, in order, and how often.
    postings: Vec<Vec<(u32, u32)>>,
    /// Words of all documents before each one, and at the end of all.
    lengths: Vec<u64>,
}

impl Bm25 {
    /// Adds a document, after all others.
    pub fn push(&mut self, text: &str) {
        let document = self.len() as u32;
        let mut ids = Vec::new();
        let Bm25 { words, postings, .. } = self;
        subtokens::for_each(text, |word| {
            let id = match words.get(word) {
                Some(id) => *id,
                None => {
                    let id = words.len() as u32;
                    words.insert(word.to_owned(), id);
                    postings.push(Vec::new());
                    id
                }
            };
            ids.push(id);
        });
        if self.lengths.is_empty() {
            self.lengths.push(0);
        }
        let before = self.lengths.last().copied().unwrap_or_default();
        self.lengths.push(before + ids.len() as u64);
        ids.sort_unstable();
        for run in ids.chunk_by(|a, b| a == b) {
            self.postings[run[0] as usize].push((document, run.len() as u32));
        }
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.lengths.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of each of the documents at `range`, as if there were no others: how rare a word is and how long
    /// documents are is counted among them. The sum over the words of the query, each as often as it stands there, of
    /// what [`crate::bm25`] says; 0 for documents without any of them.
    pub fn scores(&self, query: &str, range: Range<usize>) -> Vec<f32> {
        let mut scores = vec![0f64; range.len()];
        let documents = range.len() as f64;
        let total = match (self.lengths.get(range.start), self.lengths.get(range.end)) {
            (Some(start), Some(end)) => end - start,
            _ => return Vec::new(),
        };
        let mean_length = total as f64 / documents.max(1.0);
        subtokens::for_each(query, |word| {
            let Some(postings) = self.words.get(word).and_then(|id| self.postings.get(*id as usize)) else { return };
            let start = postings.partition_point(|(document, _)| (*document as usize) < range.start);
            let end = postings.partition_point(|(document, _)| (*document as usize) < range.end);
            let with = (end - start) as f64;
            let rarity = rarity(documents, with);
            for &(document, count) in &postings[start..end] {
                let document = document as usize;
                let length = (self.lengths[document + 1] - self.lengths[document]) as f64;
                scores[document - range.start] += rarity * gain(f64::from(count), length, mean_length);
            }
        });
        scores.into_iter().map(|score| score as f32).collect()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Bm25 {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut index = Bm25::default();
        texts.into_iter().for_each(|text| index.push(text.as_ref()));
        index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the formula, with nothing shared.
    fn naive(texts: &[String], query: &str) -> Vec<f64> {
        let documents: Vec<Vec<String>> = texts.iter().map(|text| subtokens::of(text)).collect();
        let total: usize = documents.iter().map(Vec::len).sum();
        let mean = total as f64 / documents.len() as f64;
        let n = documents.len() as f64;
        documents
            .iter()
            .map(|words| {
                let mut sum = 0.0;
                for term in subtokens::of(query) {
                    let with = documents.iter().filter(|other| other.contains(&term)).count() as f64;
                    let f = words.iter().filter(|word| **word == term).count() as f64;
                    let idf = (1.0 + (n - with + 0.5) / (with + 0.5)).ln();
                    // Where no document has a word, lengths have no mean.
                    sum += if f == 0.0 {
                        0.0
                    } else {
                        idf * f / (f + 1.2 * (1.0 - 0.75 + 0.75 * words.len() as f64 / mean))
                    };
                }
                sum
            })
            .collect()
    }

    #[test]
    fn sub_tokens_are_found_and_rare_ones_count_more() {
        let index: Bm25 = ["def parseHTTPResponse(): pass", "def parse(): pass", "def other(): pass"].iter().collect();
        let scores = index.scores("parse the http response", 0..3);
        assert!(scores[0] > scores[1] && scores[1] > scores[2], "{scores:?}");
        assert_eq!(scores[2], 0.0);
        assert_eq!(index.scores("nothing", 0..3), [0.0; 3]);
        assert!(Bm25::default().scores("a", 0..0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equals_the_formula(
            texts in prop::collection::vec("[a-e ]{0,30}", 1..12),
            query in "[a-f ]{0,12}",
            from in 0usize..12,
            to in 0usize..12,
        ) {
            let index: Bm25 = texts.iter().collect();
            let (from, to) = (from.min(to).min(texts.len()), from.max(to).min(texts.len()));
            prop_assume!(from < to);
            let expected = naive(&texts[from..to], &query);
            for (actual, expected) in index.scores(&query, from..to).into_iter().zip(expected) {
                prop_assert!((f64::from(actual) - expected).abs() < 1e-5, "{} instead of {}", actual, expected);
            }
        }
    }
}
