//! Random draws from a name: the n-th draw for a row does not depend on any other row's.

use crate::types::{Key, mix64, unit_f64};

/// A stream of draws for one row of one kind.
pub(super) struct Draws {
    base: u64,
    count: u64,
}

impl Draws {
    pub(super) fn new(seed: u64, kind: &str, row: u64) -> Draws {
        Draws { base: mix64(mix64(seed ^ Key::from(kind).hash64()) ^ row), count: 0 }
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        mix64(self.base ^ self.count)
    }

    /// A number in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        unit_f64(self.next())
    }

    /// Whether something of this probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number below the bound, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// About normal, of mean 0 and deviation 1: twelve uniform numbers less their mean.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// An index with probability in proportion to its weight, given the weights' running sums.
    pub(super) fn weighted(&mut self, sums: &[f64]) -> usize {
        let at = self.unit() * sums.last().copied().unwrap_or(0.0);
        sums.partition_point(|&sum| sum <= at).min(sums.len() - 1)
    }
}
