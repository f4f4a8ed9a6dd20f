//! Training on pairs.

use super::bag::Example;
use super::batches::{in_blocks, plan};
use super::check;
use super::contrast::Contrast;
use super::minibatch::Dropout;
use super::options::FitOptions;
use super::random::Random;
use super::table::Table;
use super::trainer::{Epoch, Schedule, Trainer};
use crate::{Cancel, Result};

/// Places of the random streams; part of what a seed means.
const ORDER: u64 = 1;
const DROPOUT: u64 = 2;

/// Trains `table` on `examples` by symmetric InfoNCE with Matryoshka cuts, on the threads of the current rayon pool.
///
/// After each epoch `on_epoch` is given the loss and the table, for instance to evaluate and to keep the best;
/// false ends the training. On an error the table is left as the last whole step made it.
///
/// # Errors
/// `INVALID_OPTION`; `INVALID_INPUT` for a table or an example that cannot be trained on, or if no two examples have
/// different groups; `ABORTED` once `cancel` is set; `NON_FINITE` if the training breaks down.
pub fn fit(
    table: &mut Table,
    examples: &[Example],
    options: &FitOptions,
    cancel: &Cancel,
    on_epoch: &mut dyn FnMut(Epoch<'_>) -> bool,
) -> Result<()> {
    check::table(table)?;
    check::fit_options(options, table.width)?;
    check::examples(examples, table)?;
    let group = |example: usize| examples[example].group;
    let mut epochs = Vec::with_capacity(options.epochs);
    for epoch in 0..options.epochs {
        cancel.check()?;
        let mut random = Random::at(options.seed, &[ORDER, epoch as u64]);
        let cluster = |example: usize| examples[example].cluster;
        let order = in_blocks(examples.len(), options.block, cluster, &mut random);
        epochs.push(plan(order, options.batch, 2, group));
    }
    let schedule = Schedule {
        rates: [options.learning_rate, options.weight_learning_rate],
        warm_up: options.warm_up,
        floor: options.min_learning_rate,
    };
    let dropout = Dropout { rate: options.dropout, occurrences: options.dropout_occurrences };
    let mut contrast = Contrast::new(&options.widths, options.temperature);
    let width = table.width;
    Trainer::new(table, schedule, options.adam).run(
        &epochs,
        |epoch, batch, texts| {
            for side in 0..2 {
                for example in batch {
                    let place = [DROPOUT, epoch as u64, u64::from(*example), side];
                    let example = &examples[*example as usize];
                    let bag = if side == 0 { &example.query } else { &example.document };
                    texts.push(bag, dropout, &mut Random::at(options.seed, &place));
                }
            }
        },
        |_, sums, gradient| contrast.loss(sums, width, gradient),
        cancel,
        on_epoch,
    )
}
