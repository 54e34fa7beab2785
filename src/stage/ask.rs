//! What each user asked for, what of it each candidate meets, and whether it can be met at all.

use super::{Outcomes, Stage};
use crate::control::{ConflictIndex, ControlTable, Names, Postings, met_mask, oracle, sampled};
use crate::spec::ControlFrom;
use crate::types::{Candidates, Catalogue, Control, ControlSource, StageName};
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

/// [`Candidates`] → [`Candidates`] with controls, `met` and `conflict`.
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

    fn run(&mut self, rows: Vec<Candidates>, out: &mut Outcomes<Candidates>) {
        for mut row in rows {
            let (controls, source) = match self.asks.controls(&row) {
                Ok(found) => found,
                Err(problem) => {
                    out.fault(row.query.origin, problem);
                    continue;
                }
            };
            row.query.conflict = self.conflicts.conflict(&controls);
            let catalogue = &self.asks.catalogue;
            row.met = match controls.as_slice() {
                [] => Vec::new(), // nobody looks at masks of no controls
                controls => row.items.iter().map(|i| met_mask(catalogue, controls, *i)).collect(),
            };
            (row.query.controls, row.query.source) = (controls, source);
            out.ok(row);
        }
    }
}

impl Asks {
    fn controls(
        &self,
        row: &Candidates,
    ) -> Result<(Vec<Control>, ControlSource), crate::types::FaultKind> {
        let query = &row.query;
        let none = || (Vec::new(), ControlSource::None);
        let found = match self.from {
            ControlFrom::None => none(),
            ControlFrom::Job => (self.job.clone(), ControlSource::Job),
            ControlFrom::Oracle => match query.targets.first() {
                Some(target) => {
                    let controls = oracle(&self.catalogue, &self.attributes, *target);
                    (controls, ControlSource::Oracle)
                }
                None => none(),
            },
            ControlFrom::Sampled => (self.sampled(row), ControlSource::Sampled),
            ControlFrom::Table => (self.asked_by(row)?, ControlSource::Table),
            ControlFrom::TableThenSampled => {
                let controls = self.asked_by(row)?;
                if controls.is_empty() {
                    (self.sampled(row), ControlSource::Sampled)
                } else {
                    (controls, ControlSource::Table)
                }
            }
        };
        Ok(if found.0.is_empty() { none() } else { found })
    }

    fn asked_by(&self, row: &Candidates) -> Result<Vec<Control>, crate::types::FaultKind> {
        let asked = self.table.for_user(&row.query.user, self.as_of);
        let (controls, problems) = self.names.resolve(&asked);
        problems.into_iter().next().map_or(Ok(controls), Err)
    }

    fn sampled(&self, row: &Candidates) -> Vec<Control> {
        let hash = row.query.user.hash64();
        sampled(&self.catalogue, &self.attributes, &row.items, hash, self.seed)
    }
}
