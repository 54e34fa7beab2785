//! Which examples a step learns from: a pure function of the seed and the step.

use crate::types::mix64;
use std::ops::Range;

/// The examples of an epoch, shuffled anew for each.
pub struct Order {
    seed: u64,
    batch: usize,
    order: Vec<u32>,
    epoch: Option<u64>,
}

impl Order {
    /// Of so many examples, in batches.
    pub fn new(seed: u64, batch: usize, examples: usize) -> Self {
        Self { seed, batch, order: (0..examples as u32).collect(), epoch: None }
    }

    /// The last batch of an epoch may be smaller.
    pub fn steps_per_epoch(&self) -> u64 {
        self.order.len().div_ceil(self.batch) as u64
    }

    /// Goes to a step; returns the places of its batch.
    pub fn seek(&mut self, step: u64) -> Range<usize> {
        let epoch = step / self.steps_per_epoch();
        if self.epoch != Some(epoch) {
            let key = mix64(self.seed ^ mix64(epoch));
            self.order.sort_unstable_by_key(|example| (mix64(key ^ u64::from(*example)), *example));
            self.epoch = Some(epoch);
        }
        let first = (step % self.steps_per_epoch()) as usize * self.batch;
        first..self.order.len().min(first + self.batch)
    }

    /// The example at a place of this epoch.
    pub fn example(&self, place: usize) -> u32 {
        self.order[place]
    }
}
