//! The arms at other settings: for each of a partition's rows, at each pool of candidates and
//! controls, every arm's list, and what it comes to by each threshold.
//!
//! The lists are judged here and dropped, some users at a time: what a sweep adds to an epoch is
//! sums, however many points it has. What decoders said is kept for as long as the same users are
//! at hand, so that arms and points that ask the same ask once.

use super::arms::{Arms, Memory};
use super::ask::Ask;
use super::write::{Judged, add_costs};
use super::{Outcomes, Setback, Stage};
use crate::metric::{Exposure, Judge, Tally};
use crate::types::{Cost, Fault, Ranked, StageName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Users whose lists are held at once: enough to fill a decoder's batch.
const USERS_AT_ONCE: usize = 32;

/// Candidates and controls that points share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The best that many are the candidates.
    pub k: usize,
    /// The first that many controls are asked for; none for all of them.
    pub controls: Option<usize>,
    /// Its points: the number of each, and which judge it has.
    pub points: Vec<(usize, usize)>,
}

/// [`Judged`] → [`Judged`] with the sums of every point. A setback of several arms or points is
/// told once.
#[derive(Clone)]
pub struct Sweep {
    /// Cuts the controls.
    pub ask: Ask,
    /// The arms of every point.
    pub arms: Arc<Arms>,
    /// What is ranked.
    pub pools: Arc<[Pool]>,
    /// One for each threshold.
    pub judges: Vec<Judge>,
}

impl Stage for Sweep {
    type In = Judged;
    type Out = Judged;
    const NAME: StageName = StageName::Sweep;

    fn run(&mut self, parts: Vec<Judged>, out: &mut Outcomes<Judged>) {
        let points = self.pools.iter().map(|pool| pool.points.len()).sum();
        for mut part in parts {
            let mut sums = vec![Tally::default(); points];
            let mut costs = vec![Vec::new(); points];
            for rows in part.lists.rows.chunks(USERS_AT_ONCE) {
                self.add(rows, (&mut sums, &mut costs), out);
            }
            part.measured.sweep = sums;
            part.measured.sweep_costs = costs;
            out.ok(part);
        }
    }
}

impl Sweep {
    /// Ranks and judges some users at every point.
    fn add<T>(
        &mut self,
        rows: &[Ranked],
        (sums, costs): (&mut [Tally], &mut [Vec<Cost>]),
        out: &mut Outcomes<T>,
    ) {
        let mut memory = Memory::default();
        let mut told: BTreeSet<Fault> = BTreeSet::new();
        let pools = Arc::clone(&self.pools);
        for pool in pools.iter() {
            let cut = |row: &Ranked| self.ask.cut(&row.candidates, pool.k, pool.controls);
            let cut: Vec<_> = rows.iter().map(cut).collect();
            let mut tried: Outcomes<()> = Outcomes::new(Self::NAME);
            let ranked = self.arms.rank(cut, &mut memory, &mut tried);
            for (point, judge) in &pool.points {
                let none = &mut Exposure::default();
                self.judges[*judge].add(&ranked, &mut sums[*point], none);
                ranked.iter().for_each(|row| add_costs(&mut costs[*point], &row.costs));
            }
            let new = |setback: &Setback| match setback {
                Setback::Fault(fault) => told.insert(fault.clone()),
                Setback::Failed(_) => true,
            };
            let (_, setbacks) = tried.into_parts();
            setbacks.into_iter().filter(new).for_each(|setback| out.setback(setback));
        }
    }
}
