//! Encoding parts and putting them into the run directory.

use super::node_graph::WalkSums;
use super::scatter::{BuiltSequences, popularity};
use super::{Outcomes, Stage};
use crate::error::Result;
use crate::metric::{Exposure, Judge, Tally};
use crate::store::{PartRef, RunDir, part, part_key};
use crate::types::{Cost, Epoch, Interaction, Ranked, StageName};
use std::sync::Arc;

/// A part that was written.
pub struct Written<X> {
    /// Which.
    pub part: PartRef,
    /// Rows of the tasks that ended in it.
    pub covers: u64,
    /// What the job adds to the epoch's commit.
    pub extra: X,
}

/// The rows of one partition of a complete epoch.
pub struct Partition<R> {
    /// The epoch.
    pub epoch: Epoch,
    /// The partition.
    pub partition: u32,
    /// All its rows.
    pub rows: Vec<R>,
}

/// Scattered interactions, sorted by their origin.
pub struct WriteInteractions(pub RunDir);

impl Stage for WriteInteractions {
    type In = Partition<Interaction>;
    type Out = Written<()>;
    const NAME: StageName = StageName::Write;

    fn run(&mut self, parts: Vec<Partition<Interaction>>, out: &mut Outcomes<Written<()>>) {
        for mut part in parts {
            part.rows.sort_unstable_by_key(|event| event.origin);
            let key = part_key(part.epoch, part.partition);
            let rows = part.rows.len() as u64;
            let put = part::interactions::encode(&part.rows)
                .and_then(|bytes| self.0.put_part(key, rows, bytes.into()));
            match put {
                Ok(part) => out.ok(Written { part, covers: rows, extra: () }),
                Err(error) => out.fail(&error),
            }
        }
    }
}

/// Sequences, in the order of their users, with how often each item is learned from.
pub struct WriteSequences {
    /// Where to.
    pub run: RunDir,
    /// Which epoch each partition belongs to.
    pub epochs: Vec<Epoch>,
}

impl Stage for WriteSequences {
    type In = BuiltSequences;
    type Out = Written<Vec<(u32, u64)>>;
    const NAME: StageName = StageName::Write;

    fn run(&mut self, parts: Vec<BuiltSequences>, out: &mut Outcomes<Self::Out>) {
        for built in parts {
            let key = part_key(self.epochs[built.partition as usize], built.partition);
            let rows = built.sequences.len() as u64;
            let put = part::sequences::encode(&built.sequences)
                .and_then(|bytes| self.run.put_part(key, rows, bytes.into()));
            match put {
                Ok(part) => {
                    let extra = popularity(&built.sequences);
                    out.ok(Written { part, covers: rows, extra });
                }
                Err(error) => out.fail(&error),
            }
        }
    }
}

/// What a partition's lists come to.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Measured {
    /// Sums of every metric.
    pub tally: Tally,
    /// How often each arm showed each item.
    pub exposure: Exposure,
    /// Users whose controls cannot all be met.
    pub conflicts: u64,
    /// What each arm's models read; empty where no arm has a model.
    pub costs: Vec<Cost>,
    /// What the ways through each graph of nodes come to.
    pub walks: Vec<WalkSums>,
    /// Sums of every point of the sweep.
    pub sweep: Vec<Tally>,
    /// What each arm's models read at every point of the sweep.
    pub sweep_costs: Vec<Vec<Cost>>,
}

impl Measured {
    /// Adds where lists come from: what models read for them, and ways through graphs of nodes.
    pub fn add_ways(&mut self, rows: &[Ranked]) {
        for row in rows {
            add_costs(&mut self.costs, &row.costs);
            let walks = row.candidates.reach.as_ref().map_or(&[][..], |reach| &reach.walks);
            if self.walks.len() < walks.len() {
                self.walks.resize_with(walks.len(), WalkSums::default);
            }
            self.walks.iter_mut().zip(walks).for_each(|(sums, walk)| sums.add(walk));
        }
    }
}

/// Adds what each arm cost.
pub fn add_costs(sums: &mut Vec<Cost>, costs: &[Cost]) {
    if sums.len() < costs.len() {
        sums.resize(costs.len(), Cost::default());
    }
    sums.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += *cost);
}

/// A partition's lists with what they come to, as far as it is known.
pub struct Judged {
    /// The lists.
    pub lists: Partition<Ranked>,
    /// What they come to.
    pub measured: Measured,
}

/// Judges a partition's lists.
pub struct Measure(pub Judge);

impl Stage for Measure {
    type In = Judged;
    type Out = Judged;
    const NAME: StageName = StageName::Measure;

    fn run(&mut self, parts: Vec<Judged>, out: &mut Outcomes<Judged>) {
        for Judged { lists, mut measured } in parts {
            self.0.add(&lists.rows, &mut measured.tally, &mut measured.exposure);
            let conflicts = lists.rows.iter().filter(|r| r.candidates.query.conflict.is_some());
            measured.conflicts = conflicts.count() as u64;
            measured.add_ways(&lists.rows);
            out.ok(Judged { lists, measured });
        }
    }
}

/// Encodes rows of lists.
pub type EncodeLists = Arc<dyn Fn(&[Ranked]) -> Result<(Vec<u8>, u64)> + Send + Sync>;

/// Ranked lists, one row a user and arm.
pub struct WriteLists {
    /// Where to.
    pub run: RunDir,
    /// Gives a part's bytes and how many rows they hold.
    pub encode: EncodeLists,
}

impl Stage for WriteLists {
    type In = Judged;
    type Out = Written<Measured>;
    const NAME: StageName = StageName::Write;

    fn run(&mut self, parts: Vec<Judged>, out: &mut Outcomes<Written<Measured>>) {
        for Judged { lists, measured } in parts {
            let key = part_key(lists.epoch, lists.partition);
            let put = (self.encode)(&lists.rows)
                .and_then(|(bytes, rows)| self.run.put_part(key, rows, bytes.into()));
            match put {
                Ok(part) => {
                    out.ok(Written { part, covers: lists.rows.len() as u64, extra: measured });
                }
                Err(error) => out.fail(&error),
            }
        }
    }
}
