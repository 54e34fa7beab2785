//! How far a worker's dataflow is, and who is told when it moves.

use super::Flow;
use crate::types::Epoch;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::Activator;

/// The first epoch that is not done: moves when one is committed.
///
/// A probe that wakes the source. Timely's own wakes nobody, so that a source that waits for it has
/// to look again and again: every 500 µs that made two thousand turns of each worker out of a job
/// of a second.
#[derive(Clone)]
pub struct Done {
    /// None at the end.
    first: Rc<Cell<Option<Epoch>>>,
    source: Rc<RefCell<Option<Activator>>>,
}

impl Default for Done {
    fn default() -> Self {
        Done { first: Rc::new(Cell::new(Some(Epoch::MIN))), source: Rc::default() }
    }
}

impl Done {
    /// Nothing is done.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the end of a dataflow: an epoch is done when nothing of it can come out any more.
    pub fn follow<D: 'static>(&self, end: Flow<'_, D>) {
        let done = self.clone();
        end.sink(Pipeline, "done", move |(input, frontier)| {
            input.for_each(|_, _| {});
            let first = frontier.frontier().first().copied();
            if done.first.replace(first) != first
                && let Some(source) = done.source.borrow().as_ref()
            {
                source.activate();
            }
        });
    }

    /// Whom to wake.
    pub fn wakes(&self, source: Activator) {
        self.source.replace(Some(source));
    }

    /// Whether everything is done.
    pub fn all(&self) -> bool {
        self.first.get().is_none()
    }

    /// Whether an epoch is done.
    pub fn is(&self, epoch: Epoch) -> bool {
        self.first.get().is_none_or(|first| first > epoch)
    }
}
