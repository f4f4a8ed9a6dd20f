//! Training towards a teacher's vectors.

use super::bag::Bag;
use super::batches::{plan, shuffled};
use super::check;
use super::cosine::Cosine;
use super::minibatch::Dropout;
use super::options::DistillOptions;
use super::random::Random;
use super::table::Table;
use super::trainer::{Epoch, Schedule, Trainer};
use crate::{Cancel, Result};

/// Places of the random streams, other than those of fitting; part of what a seed means.
const ORDER: u64 = 3;
const DROPOUT: u64 = 4;

/// Trains `table` so that each bag's vector comes near the teacher's vector of the same text, on the threads of the
/// current rayon pool. The loss is the mean of 1 − cosine.
///
/// `teacher` has one vector of unit length and of the table's width for each bag, one after another. `on_epoch` as in
/// [`fit`](super::fit).
///
/// # Errors
/// `INVALID_OPTION`; `INVALID_INPUT` for a table, bags or teacher's vectors that cannot be trained on; `ABORTED` once
/// `cancel` is set; `NON_FINITE` if the training breaks down.
pub fn distill(
    table: &mut Table,
    bags: &[Bag],
    teacher: &[f32],
    options: &DistillOptions,
    cancel: &Cancel,
    on_epoch: &mut dyn FnMut(Epoch<'_>) -> bool,
) -> Result<()> {
    check::table(table)?;
    check::distill_options(options)?;
    check::bags(bags, table)?;
    check::teacher(teacher, bags.len(), table.width)?;
    let order = |epoch: usize| Random::at(options.seed, &[ORDER, epoch as u64]);
    // Each text is a group of its own: nothing clashes.
    let epochs: Vec<_> = (0..options.epochs)
        .map(|epoch| plan(shuffled(bags.len(), &mut order(epoch)), options.batch, 1, |bag| bag as u64))
        .collect();
    let schedule = Schedule {
        rates: [options.learning_rate, options.weight_learning_rate],
        warm_up: options.warm_up,
        floor: options.min_learning_rate,
    };
    let dropout = Dropout { rate: options.dropout, occurrences: options.dropout_occurrences };
    let mut cosine = Cosine::default();
    let width = table.width;
    Trainer::new(table, schedule, options.adam).run(
        &epochs,
        |epoch, batch, texts| {
            for bag in batch {
                let mut random = Random::at(options.seed, &[DROPOUT, epoch as u64, u64::from(*bag)]);
                texts.push(&bags[*bag as usize], dropout, &mut random);
            }
        },
        |batch, sums, gradient| {
            let targets = batch.iter().map(|bag| &teacher[*bag as usize * width..][..width]);
            cosine.loss(sums, width, targets, gradient)
        },
        cancel,
        on_epoch,
    )
}
