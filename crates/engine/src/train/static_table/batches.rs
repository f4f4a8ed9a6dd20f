//! Which examples stand in which batch.

use std::collections::HashSet;

use super::random::Random;

/// All `count` examples in random order.
pub(super) fn shuffled(count: usize, random: &mut Random) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    random.shuffle(&mut order);
    order
}

/// All `count` examples in random order, but so that up to `block` of one cluster, other ones each time, follow on each
/// other.
pub(super) fn in_blocks(count: usize, block: usize, cluster: impl Fn(usize) -> u64, random: &mut Random) -> Vec<u32> {
    let mut order = shuffled(count, random);
    if block <= 1 {
        return order;
    }
    let of = |example: &u32| cluster(*example as usize);
    // Stable, so that those of a cluster stay shuffled.
    order.sort_by_key(of);
    let blocks: Vec<&[u32]> = order.chunk_by(|a, b| of(a) == of(b)).flat_map(|run| run.chunks(block)).collect();
    shuffled(blocks.len(), random).into_iter().flat_map(|index| blocks[index as usize]).copied().collect()
}

/// The batches of one epoch: the examples in their order, `batch` at a time, no two of one group together; an example
/// that would clash waits for a later batch.
///
/// What is left when a batch cannot be filled up to a half sits this epoch out, unless it is all there
/// is: a step on a few examples is mostly noise. Batches of less than `least` are never made.
pub(super) fn plan(order: Vec<u32>, batch: usize, least: usize, group: impl Fn(usize) -> u64) -> Vec<Vec<u32>> {
    let count = order.len();
    let mut order = order.into_iter();
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
