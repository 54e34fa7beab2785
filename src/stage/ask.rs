//! What each user asked for, what of it each candidate meets, and whether it can be met at all.

use super::{Outcomes, Stage};
use crate::control::{ConflictIndex, ControlTable, Names, Postings, met_mask, oracle, sampled};
use crate::spec::ControlFrom;
use crate::types::{Candidates, Catalogue, Control, ControlSource, FaultKind, StageName};
use std::sync::Arc;

/// Where controls come from: shared by all workers of a process.
pub struct Asks {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// Labels and attributes by name.
    pub names: Names,
    /// For finding controls that cannot be met.
    pub postings: Arc<Postings>,
    /// The job's choice.
    pub from: ControlFrom,
    /// The per-user table; empty when there is none.
    pub table: ControlTable,
    /// Rows of the table with a later time are not known yet.
    pub as_of: Option<i64>,
    /// The controls that everybody has.
    pub job: Vec<Control>,
    /// Attributes whose values become controls (`oracle`, `sampled`).
    pub attributes: Vec<usize>,
    /// The seed of `sampled`.
    pub seed: u64,
}

/// [`Candidates`] → [`Candidates`] with controls, `met` and `conflict`. A wish that cannot be
/// understood is a fault, and its row goes on without it.
pub struct Ask {
    asks: Arc<Asks>,
    conflicts: ConflictIndex,
}

impl Ask {
    /// A worker's own: what it found out about sets of controls is kept between rows.
    pub fn new(asks: Arc<Asks>) -> Self {
        let conflicts = ConflictIndex::new(Arc::clone(&asks.postings));
        Self { asks, conflicts }
    }
}

impl Stage for Ask {
    type In = Candidates;
    type Out = Candidates;
    const NAME: StageName = StageName::Control;

    fn run(&mut self, mut rows: Vec<Candidates>, out: &mut Outcomes<Candidates>) {
        for row in &mut rows {
            let (controls, source, problems) = self.asks.controls(row);
            for problem in problems {
                out.fault(row.query.origin, problem);
            }
            if !controls.is_empty() {
                let meets = |item: &u32| met_mask(&self.asks.catalogue, &controls, *item);
                row.met = row.items.iter().map(meets).collect();
                row.query.conflict = self.conflicts.conflict(&controls);
            }
            (row.query.controls, row.query.source) = (controls, source);
        }
        out.append(rows);
    }
}

impl Asks {
    /// What the user asked for, and what of it cannot be understood: that is told, and the user is
    /// ranked for with the rest.
    fn controls(&self, row: &Candidates) -> (Vec<Control>, ControlSource, Vec<FaultKind>) {
        let query = &row.query;
        let mut problems = Vec::new();
        let mut asked_for = || {
            let asked = self.table.for_user(&query.user, self.as_of);
            let (controls, unknown) = self.names.resolve(&asked);
            problems = unknown;
            controls
        };
        let (controls, source) = match self.from {
            ControlFrom::None => (Vec::new(), ControlSource::None),
            ControlFrom::Job => (self.job.clone(), ControlSource::Job),
            ControlFrom::Oracle => {
                let of = |target: &u32| oracle(&self.catalogue, &self.attributes, *target);
                (query.targets.first().map(of).unwrap_or_default(), ControlSource::Oracle)
            }
            ControlFrom::Sampled => (self.sampled(row), ControlSource::Sampled),
            ControlFrom::Table => (asked_for(), ControlSource::Table),
            ControlFrom::TableThenSampled => match asked_for() {
                controls if controls.is_empty() => (self.sampled(row), ControlSource::Sampled),
                controls => (controls, ControlSource::Table),
            },
        };
        let source = if controls.is_empty() { ControlSource::None } else { source };
        (controls, source, problems)
    }

    fn sampled(&self, row: &Candidates) -> Vec<Control> {
        let hash = row.query.user.hash64();
        sampled(&self.catalogue, &self.attributes, &row.items, hash, self.seed)
    }
}
