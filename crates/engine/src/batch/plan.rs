//! Which waiting texts go into the next batch.

/// What one call may put into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Index of the call.
    pub call: usize,
    /// How many of its next sequences.
    pub sequences: usize,
}

/// Shares `budget` tokens among calls, fairly.
pub fn plan_shares(_budget: usize, _waiting: &[&[u32]]) -> Vec<Share> {
    Vec::new()
}
