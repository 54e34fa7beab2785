//! What each user asked for, what of it each candidate meets, and whether it can be met at all.

use super::told::{Told, label};
use super::{Outcomes, Stage};
use crate::control::{
    CONTROLS_MAX, ConflictIndex, ControlTable, Names, Postings, met_mask, oracle, sampled,
};
use crate::spec::ControlFrom;
use crate::types::{
    Candidates, Catalogue, Control, ControlSource, FaultKind, ItemId, Key, Query, StageName,
    Standing,
};
use std::collections::HashMap;
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
    /// What users say in their own words, if they do.
    pub told: Option<Told>,
    /// What users' lists should be like, where that is not the same for everybody.
    pub goals: Option<Goals>,
}

/// Each user's Goal.
pub struct Goals {
    /// That of each user who has one.
    pub table: HashMap<Key, Box<str>>,
    /// That of the others.
    pub others: Option<Box<str>>,
}

/// [`Candidates`] → [`Candidates`] with controls, `met` and `conflict`. A wish that cannot be
/// understood is a fault, and its row goes on without it.
#[derive(Clone)]
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

    /// What the rules understand of a user's request.
    pub fn understood(&self, query: &Query) -> Vec<Control> {
        let request = query.request.as_ref();
        let told = self.asks.told.as_ref().zip(request);
        told.map(|(told, request)| told.requests.understand(&request.text)).unwrap_or_default()
    }

    /// A row as it would be, had only its best `k` been retrieved and only the first `count` of its
    /// controls been asked for; none stands for all of them.
    pub fn cut(&mut self, row: &Candidates, k: usize, count: Option<usize>) -> Candidates {
        let k = k.min(row.retrieved());
        let mut cut = Candidates {
            query: row.query.clone(),
            items: row.items[..k].to_vec(),
            scores: row.scores[..k].to_vec(),
            met: Vec::new(),
            reach: None,
        };
        cut.query.conflict = None;
        // A point of a sweep has its own weight.
        cut.query.request.iter_mut().for_each(|request| request.weight = None);
        let (controls, source) = self.asks.first(&row.query, &cut.items, count);
        self.put(&mut cut, controls, source);
        cut.query.standing = self.asks.standing(&cut.query);
        cut
    }

    fn put(&mut self, row: &mut Candidates, controls: Vec<Control>, source: ControlSource) {
        if !controls.is_empty() {
            let meets = |item: &ItemId| met_mask(&self.asks.catalogue, &controls, *item);
            row.met = row.items.iter().map(meets).collect();
            row.query.conflict = self.conflicts.conflict(&controls);
        }
        let source = if controls.is_empty() { ControlSource::None } else { source };
        (row.query.controls, row.query.source) = (controls, source);
    }
}

/// Adds what a user says, and what of it is understood.
fn hear(told: &Told, query: &mut Query, controls: &mut Vec<Control>, source: &mut ControlSource) {
    let request = told.request(query);
    query.segments.push(request.as_ref().map_or(u32::MAX, label));
    let Some(request) = request else { return };
    if controls.is_empty() {
        *source = told.source();
    }
    for control in told.understood(&request) {
        if !controls.contains(&control) && controls.len() < CONTROLS_MAX {
            controls.push(control);
        }
    }
    query.request = Some(Box::new(request));
}

impl Stage for Ask {
    type In = Candidates;
    type Out = Candidates;
    const NAME: StageName = StageName::Control;

    fn run(&mut self, mut rows: Vec<Candidates>, out: &mut Outcomes<Candidates>) {
        for row in &mut rows {
            let (mut controls, mut source, problems) = self.asks.controls(row);
            for problem in problems {
                out.fault(row.query.origin, problem);
            }
            if let Some(told) = &self.asks.told {
                hear(told, &mut row.query, &mut controls, &mut source);
            }
            if let Some(goals) = &self.asks.goals {
                let own = goals.table.get(&row.query.user).or(goals.others.as_ref());
                row.query.goal = own.cloned();
            }
            self.put(row, controls, source);
        }
        out.append(rows);
    }
}

impl Asks {
    /// What the user asked for, and what of it cannot be understood: that is told, and the user is
    /// ranked for with the rest.
    fn controls(&self, row: &Candidates) -> (Vec<Control>, ControlSource, Vec<FaultKind>) {
        let (query, all) = (&row.query, self.attributes.as_slice());
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
            ControlFrom::Oracle => (self.oracle(query, all), ControlSource::Oracle),
            ControlFrom::Sampled => (self.sampled(query, &row.items, all), ControlSource::Sampled),
            ControlFrom::Table => (asked_for(), ControlSource::Table),
            ControlFrom::TableThenSampled => match asked_for() {
                controls if controls.is_empty() => {
                    (self.sampled(query, &row.items, all), ControlSource::Sampled)
                }
                controls => (controls, ControlSource::Table),
            },
        };
        (controls, source, problems)
    }

    /// The first controls of a query that has them all, over other candidates: what is derived is
    /// derived again, from the first attributes.
    fn first(
        &self,
        query: &Query,
        items: &[ItemId],
        count: Option<usize>,
    ) -> (Vec<Control>, ControlSource) {
        let count = count.unwrap_or(usize::MAX);
        let attributes = &self.attributes[..count.min(self.attributes.len())];
        let told = || query.controls.iter().take(count).cloned().collect();
        match (self.from, query.source) {
            (ControlFrom::Oracle, _) => (self.oracle(query, attributes), ControlSource::Oracle),
            (ControlFrom::TableThenSampled, ControlSource::Table) => (told(), ControlSource::Table),
            (ControlFrom::Sampled | ControlFrom::TableThenSampled, _) => {
                (self.sampled(query, items, attributes), ControlSource::Sampled)
            }
            (_, source) => (told(), source),
        }
    }

    /// How the controls stand to history and targets; none without controls.
    fn standing(&self, query: &Query) -> Option<Standing> {
        let controls = &query.controls;
        let met = |item: &ItemId| met_mask(&self.catalogue, controls, *item).count_ones();
        let most = controls.len() * query.history.len();
        let all: u32 = query.history.iter().map(met).sum();
        (!controls.is_empty()).then(|| Standing {
            agreement: all as f32 / most.max(1) as f32,
            target: query.targets.iter().map(met).max(),
        })
    }

    fn oracle(&self, query: &Query, attributes: &[usize]) -> Vec<Control> {
        let of = |target: &ItemId| oracle(&self.catalogue, attributes, *target);
        query.targets.first().map(of).unwrap_or_default()
    }

    fn sampled(&self, query: &Query, items: &[ItemId], attributes: &[usize]) -> Vec<Control> {
        sampled(&self.catalogue, attributes, items, query.user.hash64(), self.seed)
    }
}
