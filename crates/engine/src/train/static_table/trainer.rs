//! What both trainings share: the schedule, a step, the epochs.

use std::time::Instant;

use pulp::Arch;
use rayon::prelude::*;

use super::adam::Moments;
use super::minibatch::{ByToken, Minibatch};
use super::options::Adam;
use super::table::Table;
use crate::{Cancel, Code, Error, Result};

/// What an epoch did, and the table after it.
#[derive(Debug, Clone, Copy)]
pub struct Epoch<'a> {
    /// Which epoch, from 1.
    pub epoch: usize,
    /// Steps of this epoch.
    pub steps: usize,
    /// Mean loss of these steps, each taken before its update.
    pub loss: f64,
    /// Seconds that this epoch took.
    pub seconds: f64,
    /// The table as it is now, to evaluate or to keep.
    pub table: &'a Table,
}

/// Linear warm-up, then linear decay.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    /// Highest rates of rows and of weights.
    pub(super) rates: [f32; 2],
    /// Share of steps that rise.
    pub(super) warm_up: f32,
    /// Share of the highest rates that is the floor.
    pub(super) floor: f32,
}

impl Schedule {
    /// The rates at `step` (from 0) of `steps`: highest at the end of the warm-up, and all but 0 at the last step.
    pub(super) fn at(self, step: usize, steps: usize) -> [f32; 2] {
        let rise = (steps as f32 * self.warm_up).round();
        let share = match step as f32 {
            step if step < rise => (step + 1.0) / rise,
            step => (steps as f32 - step) / (steps as f32 - rise).max(1.0),
        };
        self.rates.map(|rate| rate * share.max(self.floor))
    }
}

/// A training under way.
pub(super) struct Trainer<'a> {
    table: &'a mut Table,
    moments: Moments,
    adam: Adam,
    schedule: Schedule,
    batch: Minibatch,
    by_token: ByToken,
    sums: Vec<f32>,
    gradient: Vec<f32>,
}

impl<'a> Trainer<'a> {
    /// Of `table`, from no step on.
    pub(super) fn new(table: &'a mut Table, schedule: Schedule, adam: Adam) -> Self {
        Trainer {
            moments: Moments::new(table),
            table,
            adam,
            schedule,
            batch: Minibatch::default(),
            by_token: ByToken::default(),
            sums: Vec::new(),
            gradient: Vec::new(),
        }
    }

    /// Runs epochs of batches. `fill` puts a batch's texts into the minibatch, given the epoch; `objective` gives the
    /// loss and the gradient by the texts' sums.
    pub(super) fn run(
        mut self,
        epochs: &[Vec<Vec<u32>>],
        mut fill: impl FnMut(usize, &[u32], &mut Minibatch),
        mut objective: impl FnMut(&[u32], &[f32], &mut [f32]) -> f64,
        cancel: &Cancel,
        on_epoch: &mut dyn FnMut(Epoch<'_>) -> bool,
    ) -> Result<()> {
        let all = epochs.iter().map(Vec::len).sum();
        let mut step = 0;
        for (epoch, batches) in epochs.iter().enumerate() {
            let started = Instant::now();
            let mut loss = 0.0;
            for batch in batches {
                cancel.check()?;
                self.batch.clear();
                fill(epoch, batch, &mut self.batch);
                let rates = self.schedule.at(step, all);
                step += 1;
                let at = self.step(rates, |sums, gradient| objective(batch, sums, gradient));
                if !at.is_finite() {
                    return Err(diverged(step, at));
                }
                loss += at / batches.len() as f64;
            }
            let seconds = started.elapsed().as_secs_f64();
            let table = &*self.table;
            if !on_epoch(Epoch { epoch: epoch + 1, steps: batches.len(), loss, seconds, table }) {
                break;
            }
        }
        // The loss was looked at before each update: the last one could still have gone wrong.
        if self.table.rows.iter().chain(&self.table.weights).all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(diverged(step, f64::NAN))
        }
    }

    /// One step on the texts in `batch`; gives the loss before it.
    fn step(&mut self, rates: [f32; 2], objective: impl FnOnce(&[f32], &mut [f32]) -> f64) -> f64 {
        let width = self.table.width;
        let texts = self.batch.len();
        self.sums.resize(texts * width, 0.0);
        self.gradient.resize(texts * width, 0.0);
        let (table, batch) = (&*self.table, &self.batch);
        self.sums.par_chunks_exact_mut(width).with_min_len(8).enumerate().for_each(|(text, sum)| {
            let (ids, counts) = batch.text(text);
            Arch::new().dispatch(
                #[inline(always)]
                || table.sum(ids, counts, sum),
            );
        });
        let loss = objective(&self.sums, &mut self.gradient);
        if loss.is_finite() {
            self.by_token.fill(&self.batch, self.table.vocabulary());
            self.moments.step(self.table, &self.by_token, &self.gradient, rates, self.adam);
        }
        loss
    }
}

fn diverged(step: usize, loss: f64) -> Error {
    Error::new(
        Code::NonFinite,
        format!(
            "Training broke down at step {step}: the loss is {loss}. Lower the learning rate, or raise the temperature."
        ),
    )
    .with("step", step)
}
