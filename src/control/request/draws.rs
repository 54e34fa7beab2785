//! Draws that follow from one number.

use crate::types::{mix64, unit_f64};

/// A row of draws.
pub struct Draws(u64);

impl Draws {
    /// Those that follow from `seed`.
    pub fn new(seed: u64) -> Draws {
        Draws(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.0)
    }

    /// A number in [0, 1).
    pub fn share(&mut self) -> f64 {
        unit_f64(self.next())
    }

    /// A number below `count`; 0 where that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// One of some; none of none.
    pub fn of<'a, T>(&mut self, some: &'a [T]) -> Option<&'a T> {
        some.get(self.below(some.len()))
    }
}
