//! Which examples stand in which batch.

use std::collections::HashSet;

use super::random::Random;

/// The batches of one epoch: all `count` examples in random order, `batch` at a time, no two of one
/// group together; an example that would clash waits for a later batch.
///
/// What is left when a batch cannot be filled up to a half sits this epoch out, unless it is all there
/// is: a step on a few examples is mostly noise. Batches of less than `least` are never made.
pub(super) fn plan(
    count: usize,
    batch: usize,
    least: usize,
    group: impl Fn(usize) -> u64,
    random: &mut Random,
) -> Vec<Vec<u32>> {
    let mut waiting: Vec<u32> = (0..count as u32).collect();
    random.shuffle(&mut waiting);
    let mut order = waiting.into_iter();
    let mut clashed: Vec<u32> = Vec::new();
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut groups = HashSet::new();
    loop {
        let mut examples = Vec::with_capacity(batch.min(count));
        groups.clear();
        clashed.retain(|example| {
            let taken = examples.len() < batch && groups.insert(group(*example as usize));
            if taken {
                examples.push(*example);
            }
            !taken
        });
        while examples.len() < batch {
            let Some(example) = order.next() else { break };
            let place = if groups.insert(group(example as usize)) { &mut examples } else { &mut clashed };
            place.push(example);
        }
        let short = examples.len() * 2 < batch;
        if examples.len() < least.max(1) || (short && !batches.is_empty()) {
            return batches;
        }
        batches.push(examples);
        if short {
            return batches;
        }
    }
}
