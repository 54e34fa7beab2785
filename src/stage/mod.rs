//! What happens to a row? The pure steps, in pipeline order. No epochs, no workers, no threads.

pub mod arms;
pub mod ask;
pub mod bm25;
pub mod embed;
pub mod examples;
pub mod judge;
pub mod labels;
pub mod language;
mod meter;
pub mod node_graph;
pub mod pose;
pub mod prompt;
pub mod reachability;
pub mod read;
pub mod reader;
pub mod rerank;
pub mod retrieve;
pub mod scatter;
pub mod sequence;
pub mod sweep;
pub mod texts;
pub mod token_control;
pub mod told;
pub mod users;
pub mod write;

pub use meter::Meter;

use crate::types::{Fault, FaultKind, Origin, StageName};

/// Rows in; each goes on or ends as a fault, or goes on without a part of it that is a fault (a
/// task may give many rows).
pub trait Stage: 'static {
    /// What it takes.
    type In: Send + 'static;
    /// What it gives.
    type Out: Send + 'static;
    /// How faults and the report call it.
    const NAME: StageName;
    /// Takes rows, puts their outcomes.
    fn run(&mut self, rows: Vec<Self::In>, out: &mut Outcomes<Self::Out>);
}

/// Why a row, a part of it, or the epoch it is in, ends.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Setback {
    /// The row's own problem.
    Fault(Fault),
    /// Not the row's doing (disk, network, device): its epoch must not commit, and the job stops.
    Failed(String),
}

/// Collects outcomes; the host fills in the stage's name. What goes on and what ends are kept
/// apart, so that a whole batch moves to the next stage without being looked at again.
#[derive(Debug)]
pub struct Outcomes<T> {
    rows: Vec<T>,
    setbacks: Vec<Setback>,
    stage: StageName,
}

impl<T> Outcomes<T> {
    /// None yet.
    pub fn new(stage: StageName) -> Self {
        Self { rows: Vec::new(), setbacks: Vec::new(), stage }
    }

    /// Makes room for `more` rows: a stage that knows says so, and nothing is copied by growing.
    pub fn reserve(&mut self, more: usize) {
        self.rows.reserve(more);
    }

    /// A row that goes on.
    #[inline]
    pub fn ok(&mut self, row: T) {
        self.rows.push(row);
    }

    /// Rows that all go on, changed where they are.
    pub fn append(&mut self, mut rows: Vec<T>) {
        if self.rows.is_empty() {
            self.rows = rows;
        } else {
            self.rows.append(&mut rows);
        }
    }

    /// A row, or a part of one, that ends here.
    pub fn fault(&mut self, origin: Origin, kind: FaultKind) {
        self.setbacks.push(Setback::Fault(Fault { origin, stage: self.stage, kind }));
    }

    /// What ended or failed in another stage, under this one's name.
    pub fn setback(&mut self, setback: Setback) {
        match setback {
            Setback::Fault(fault) => self.fault(fault.origin, fault.kind),
            failed => self.setbacks.push(failed),
        }
    }

    /// What stops the job.
    pub fn fail(&mut self, error: &crate::error::Error) {
        self.setbacks.push(Setback::Failed(error.to_string()));
    }

    /// The rows that go on and the setbacks, each in the order in which they were put.
    pub fn into_parts(self) -> (Vec<T>, Vec<Setback>) {
        (self.rows, self.setbacks)
    }
}
