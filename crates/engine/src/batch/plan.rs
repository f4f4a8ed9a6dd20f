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
///
/// `waiting[c]` are the lengths (in tokens) of the sequences that call `c` still has, in the order in
/// which it wants them run; a share is always a prefix of that. The order of the calls is their
/// priority: the caller puts first whoever was served longest ago.
///
/// 1. The first call that has anything gets its next sequence whatever its length, so that every
///    batch makes progress and nothing waits for ever. If that sequence exceeds the budget, it runs
///    alone.
/// 2. Each call fills its equal share of the budget.
/// 3. What is left goes round: one sequence a call, as long as one fits.
///
/// Shares come in the order of the calls; a call that gets nothing has none. Unless step 1 had to
/// exceed it, the budget holds.
pub fn plan_shares(budget: usize, waiting: &[&[u32]]) -> Vec<Share> {
    let mut taken = vec![0_usize; waiting.len()];
    let calls = waiting.iter().filter(|lengths| !lengths.is_empty()).count();
    let Some(first) = waiting.iter().position(|lengths| !lengths.is_empty()) else {
        return Vec::new();
    };
    let opening = waiting[first][0] as usize;
    taken[first] = 1;
    if opening < budget {
        let mut left = budget - opening;
        fill_shares(budget / calls, &mut left, (first, opening), waiting, &mut taken);
        share_leftover(&mut left, waiting, &mut taken);
    }
    let shares = taken.into_iter().enumerate().filter(|&(_, sequences)| sequences > 0);
    shares.map(|(call, sequences)| Share { call, sequences }).collect()
}

/// Step 2: `opened` is the call that step 1 served, and how much of its share that took.
fn fill_shares(share: usize, left: &mut usize, opened: (usize, usize), waiting: &[&[u32]], taken: &mut [usize]) {
    for (call, lengths) in waiting.iter().enumerate() {
        let mut room = if call == opened.0 { share.saturating_sub(opened.1) } else { share };
        while let Some(&next) = lengths.get(taken[call]) {
            let next = next as usize;
            // The opening sequence may have taken more than its share, so that the whole is looked at too.
            if next > room || next > *left {
                break;
            }
            room -= next;
            *left -= next;
            taken[call] += 1;
        }
    }
}

/// Step 3.
fn share_leftover(left: &mut usize, waiting: &[&[u32]], taken: &mut [usize]) {
    // A call whose next sequence does not fit is out for good: what is left only shrinks.
    let mut open: Vec<usize> = (0..waiting.len()).collect();
    while !open.is_empty() {
        open.retain(|&call| match waiting[call].get(taken[call]) {
            Some(&next) if next as usize <= *left => {
                *left -= next as usize;
                taken[call] += 1;
                true
            }
            _ => false,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn plan(budget: usize, waiting: &[&[u32]]) -> Vec<(usize, usize)> {
        plan_shares(budget, waiting).into_iter().map(|share| (share.call, share.sequences)).collect()
    }

    #[test]
    fn nothing_waits() {
        assert_eq!(plan(100, &[]), []);
        assert_eq!(plan(100, &[&[], &[]]), []);
    }

    #[test]
    fn one_call_gets_the_whole_budget() {
        assert_eq!(plan(100, &[&[40, 40, 20, 10]]), [(0, 3)]);
        assert_eq!(plan(100, &[&[], &[60, 50, 10]]), [(1, 1)]);
    }

    #[test]
    fn a_sequence_beyond_the_budget_runs_alone() {
        assert_eq!(plan(100, &[&[500, 10], &[10]]), [(0, 1)]);
        assert_eq!(plan(100, &[&[10], &[500, 10]]), [(0, 1)]);
        assert_eq!(plan(100, &[&[100], &[1]]), [(0, 1)]);
    }

    #[test]
    fn a_small_call_is_in_the_next_batch_with_big_ones() {
        let job = [30; 50];
        assert_eq!(plan(120, &[&[5], &job, &job]), [(0, 1), (1, 2), (2, 1)]);
        assert_eq!(plan(120, &[&job, &job, &[5]]), [(0, 2), (1, 1), (2, 1)]);
    }

    #[test]
    fn what_one_call_leaves_goes_to_the_others() {
        assert_eq!(plan(100, &[&[10], &[20; 9]]), [(0, 1), (1, 4)]);
    }

    proptest! {
        #[test]
        fn every_plan_is_sound(
            budget in 1_usize..300,
            waiting in prop::collection::vec(prop::collection::vec(1_u32..200, 0..20), 0..12),
        ) {
            let lengths: Vec<&[u32]> = waiting.iter().map(Vec::as_slice).collect();
            let shares = plan_shares(budget, &lengths);

            // Progress whenever anything waits, and it begins with the first call that has something.
            let first = waiting.iter().position(|call| !call.is_empty());
            prop_assert_eq!(shares.first().map(|share| share.call), first);

            let mut total = 0;
            for pair in shares.windows(2) {
                prop_assert!(pair[0].call < pair[1].call);
            }
            for share in &shares {
                prop_assert!(share.sequences >= 1 && share.sequences <= waiting[share.call].len());
                total += waiting[share.call][..share.sequences].iter().map(|&len| len as usize).sum::<usize>();
            }
            // Only a single sequence may exceed the budget.
            prop_assert!(total <= budget || (shares.len() == 1 && shares[0].sequences == 1));

            // Nothing that would have fitted was left out.
            if total < budget {
                for (call, lengths) in waiting.iter().enumerate() {
                    let taken = shares.iter().find(|share| share.call == call).map_or(0, |share| share.sequences);
                    if let Some(&next) = lengths.get(taken) {
                        prop_assert!(total + next as usize > budget, "call {call} still fits");
                    }
                }
            }
        }

        #[test]
        fn equal_calls_get_equal_shares(calls in 1_usize..10, each in 1_usize..8, length in 1_u32..50) {
            let lengths = vec![length; 40];
            let waiting = vec![lengths.as_slice(); calls];
            let shares = plan_shares(calls * each * length as usize, &waiting);
            prop_assert_eq!(shares.len(), calls);
            prop_assert!(shares.iter().all(|share| share.sequences == each));
        }
    }
}
