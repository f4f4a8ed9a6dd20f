//! The formula of BM25, shared by search and by the evaluation: for each word of a query
//! `ln(1 + (N − n + ½) / (n + ½)) · f / (f + k1 · (1 − b + b · length / mean length))`, as in Lucene (Robertson and
//! Zaragoza, The Probabilistic Relevance Framework, 2009).

/// How soon further occurrences of a word stop to count.
pub const K1: f64 = 1.2;

/// How much longer documents count less.
pub const B: f64 = 0.75;

/// What a word is worth that is in `with` of `documents`.
pub fn rarity(documents: f64, with: f64) -> f64 {
    (1.0 + (documents - with + 0.5) / (with + 0.5)).ln()
}

/// How much of it a document gets that has the word `count` times; from 0 to 1.
pub fn gain(count: f64, length: f64, mean_length: f64) -> f64 {
    count / (count + K1 * (1.0 - B + B * length / mean_length))
}
