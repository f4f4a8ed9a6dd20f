//! What is trained on: texts as bags of tokens, and pairs of them.

/// A text as a bag: distinct token ids in ascending order, with how often each occurs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bag {
    /// Distinct token ids, ascending.
    pub ids: Box<[u32]>,
    /// How often each of `ids` occurs: finite and above 0.
    pub counts: Box<[f32]>,
}

impl Bag {
    /// The bag of a text's tokens, in any order.
    pub fn of(tokens: &[u32]) -> Self {
        let mut tokens = tokens.to_vec();
        tokens.sort_unstable();
        let runs = || tokens.chunk_by(|a, b| a == b);
        Bag { ids: runs().map(|run| run[0]).collect(), counts: runs().map(|run| run.len() as f32).collect() }
    }
}

/// A query and the document that answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The question.
    pub query: Bag,
    /// What should be found.
    pub document: Bag,
    /// Examples of equal group never stand in one batch, where each would be a wrong negative of the
    /// other: give those with the same code, or the same query, one group.
    pub group: u64,
    /// Examples of one cluster, such as a package, are harder negatives of each other than those of different ones:
    /// see [`FitOptions::block`](super::FitOptions::block).
    pub cluster: u64,
}
