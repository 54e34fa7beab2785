//! `rerank` as a dataflow. Read this file first.
//!
//! ```text
//! tasks ─► read ─► retrieve ─► ask ─► (reach) ─► (walk) ─► arms ─► seal ─► (sweep) ─► measure ─►
//!            └─────────┴─────────┴───────┴─────────┴─────── faults ──┴──────────────────┴─► commit
//! measure ─► write ─► commit
//! ```
//!
//! Rows never change the worker: a task is a partition of users, its lists are a part, and `seal`
//! puts them together again after the stages. What crosses workers is receipts.

use super::cluster::Cluster;
use super::commit::{Ledger, commit};
use super::offload::{host, offload};
use super::prepare::{Pass, execute, kept, lost, planned};
use super::walk::{Walks, walk};
use super::{Flow, Meters, apply::apply, reach::reach, seal::seal};
use crate::engine::Engine;
use crate::error::Result;
use crate::plan::Task;
use crate::stage::arms::Rerank;
use crate::stage::ask::Ask;
use crate::stage::language::Search;
use crate::stage::retrieve::{Retrieve, USERS_AT_ONCE};
use crate::stage::sweep::Sweep;
use crate::stage::write::{Judged, Measure, Measured, Partition, WriteLists};
use crate::stage::{Setback, read::ReadGiven, read::ReadSequences};
use crate::types::{Candidates, Ranked};
use std::sync::Arc;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Concatenate};

/// Tasks in flight between a worker and its engines.
const AHEAD: usize = 2;

/// The stages of a worker, and the job's ledger.
pub struct RerankStages<R> {
    /// Where candidates come from.
    pub source: R,
    /// What was asked for.
    pub ask: Ask,
    /// Searches of the whole catalogue, where an arm begins with one.
    pub search: Option<Arc<Search>>,
    /// Ways through graphs of nodes, where an arm goes one.
    pub walks: Option<Walks>,
    /// The arms.
    pub arms: Rerank,
    /// The arms at other settings, where the job has a sweep.
    pub sweep: Option<Sweep>,
    /// How many devices compute: workers go on while what is asked of models waits for them.
    pub devices: usize,
    /// The metrics.
    pub measure: Measure,
    /// The parts.
    pub write: WriteLists,
    /// Records epochs.
    pub ledger: Ledger<Measured>,
}

/// Candidates from a retriever over sequences.
#[derive(Clone)]
pub struct Retrieved {
    /// Reads sequences.
    pub read: ReadSequences,
    /// Finds the top K.
    pub retrieve: Retrieve,
}

/// Candidates from lists made elsewhere.
pub struct Given(pub ReadGiven);

/// Where candidates come from.
pub trait Source: 'static {
    /// The candidates of tasks, and what did not get that far.
    fn candidates<'s>(self, tasks: Flow<'s, Task>, meters: &Arc<Meters>) -> Found<'s>;
}

/// Candidates and setbacks.
pub type Found<'s> = (Flow<'s, Candidates>, Flow<'s, Setback>);

impl Source for Retrieved {
    fn candidates<'s>(self, tasks: Flow<'s, Task>, meters: &Arc<Meters>) -> Found<'s> {
        let (queries, unread) = offload(tasks, Engine::start(AHEAD, || self.read), 1, meters);
        let devices = self.retrieve.0.devices();
        let (candidates, unfound) = host(queries, self.retrieve, devices, USERS_AT_ONCE, meters);
        (candidates, unread.concat(unfound))
    }
}

impl Source for Given {
    fn candidates<'s>(self, tasks: Flow<'s, Task>, meters: &Arc<Meters>) -> Found<'s> {
        offload(tasks, Engine::start(AHEAD, || self.0), 1, meters)
    }
}

/// Ranked lists of every arm, and what they come to.
pub fn rerank<R, B>(cluster: &Cluster, run: &str, pass: Pass<B>) -> Result<()>
where
    R: Source,
    B: Fn() -> RerankStages<R> + Send + Sync + 'static,
{
    execute(cluster, run, pass, |scope, shards, stages, pass, done| {
        let planned = planned(shards.clone());
        let devices = stages.devices;
        let (candidates, unfound) = stages.source.candidates(shards, &pass.meters);
        let (asked, unasked) = apply(candidates, stages.ask, &pass.meters);
        let mut setbacks = vec![unfound, unasked];
        let reached = match stages.search {
            None => asked,
            Some(search) => {
                let (reached, unreached) = reach(asked, search, devices, &pass.meters);
                setbacks.push(unreached);
                reached
            }
        };
        let walked = match stages.walks {
            None => reached,
            Some(walks) => {
                let (walked, unwalked) = walk(reached, walks, devices, &pass.meters);
                setbacks.push(unwalked);
                walked
            }
        };
        let (ranked, unranked) = host(walked, stages.arms, devices, USERS_AT_ONCE, &pass.meters);
        let shard = |row: &Ranked| u64::from(row.candidates.query.origin.shard);
        setbacks.push(unranked);
        let before = scope.concatenate(setbacks.iter().cloned());
        let lists = seal(ranked, before, "seal", Pipeline, shard).map(|s| {
            let (epoch, partition, rows) = (s.epoch, s.partition as u32, s.rows);
            Judged { lists: Partition { epoch, partition, rows }, measured: Measured::default() }
        });
        let lists = match stages.sweep {
            None => lists,
            Some(sweep) => {
                let (swept, unswept) = host(lists, sweep, devices, 1, &pass.meters);
                setbacks.push(unswept);
                swept
            }
        };
        let (judged, unjudged) = apply(lists, stages.measure, &pass.meters);
        let writer = Engine::start(AHEAD, || stages.write);
        let (written, unwritten) = offload(judged, writer, 1, &pass.meters);
        setbacks.extend([unjudged, unwritten]);
        let receipts = [planned, kept(written), lost(scope, setbacks)];
        commit(scope.concatenate(receipts), stages.ledger, done, &pass.meters);
    })
}
