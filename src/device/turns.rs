//! Copies of the same on several devices, of which whoever asks gets the one that is least busy.

use std::sync::{Mutex, PoisonError};

/// At least one copy; an answer is the same whichever gives it.
pub struct Turns<T> {
    copies: Vec<T>,
    /// How many are asking each copy.
    askers: Mutex<Vec<usize>>,
}

impl<T> Turns<T> {
    /// Of copies.
    ///
    /// Panics: if there are none.
    pub fn new(copies: Vec<T>) -> Turns<T> {
        assert!(!copies.is_empty(), "somebody has to be asked");
        let askers = Mutex::new(vec![0; copies.len()]);
        Turns { copies, askers }
    }

    /// How many copies.
    pub fn count(&self) -> usize {
        self.copies.len()
    }

    /// Any copy, for what all of them know alike.
    pub fn any(&self) -> &T {
        &self.copies[0]
    }

    /// Asks the copy that the fewest are asking.
    pub fn ask<R>(&self, question: impl FnOnce(&T) -> R) -> R {
        let at = self.change(|askers| {
            let least = (0..askers.len()).min_by_key(|at| askers[*at]).unwrap_or(0);
            askers[least] += 1;
            least
        });
        let answer = question(&self.copies[at]);
        self.change(|askers| askers[at] -= 1);
        answer
    }

    fn change<R>(&self, change: impl FnOnce(&mut [usize]) -> R) -> R {
        change(&mut self.askers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_gets_a_copy_that_nobody_else_is_asking() {
        let turns = Turns::new(vec![0, 1, 2]);
        let three = turns.ask(|a| turns.ask(|b| turns.ask(|c| [*a, *b, *c])));
        assert_eq!(three, [0, 1, 2]);
        assert_eq!(turns.ask(|a| turns.ask(|b| [*a, *b])), [0, 1], "they are free again");
    }
}
