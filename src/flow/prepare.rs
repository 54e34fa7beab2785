//! `prepare` as dataflows, one after the other on the same workers.
//!
//! ```text
//! scatter:    tasks ─► read ─► by hash of user ─► seal ─► write ─► commit   a wave of shards
//! dictionary: tasks ─► pairs ─► k-core (iterate) ─► items ───────► commit   everything at once
//! sequences:  tasks ─► build ───────────────────────────► write ─► commit   a few partitions
//! ```
//!
//! Only the first pass is bounded by the size of the raw data, and it streams: an epoch at a time.
//! The others see a partition at a time; the k-core alone holds all (user, item) pairs, as numbers
//! and keys.

use super::cluster::{Cluster, drive};
use super::commit::{Ledger, Receipt, commit};
use super::core::core;
use super::{Done, Flow, Meters, offload::offload, seal::seal, tasks::tasks};
use crate::engine::Engine;
use crate::error::Result;
use crate::plan::{Plan, Task};
use crate::stage::Setback;
use crate::stage::read::ReadInteractions;
use crate::stage::scatter::{BuildSequences, ReadPairs, partition_of};
use crate::stage::write::{Partition, WriteInteractions, WriteSequences, Written};
use crate::types::{Epoch, Key};
use differential_dataflow::AsCollection;
use std::sync::Arc;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::vec::{Broadcast, Filter, Map};
use timely::dataflow::{Scope, operators::Concatenate};
use timely::worker::Worker;

/// Shards in flight between a worker and its reading engine.
const READ_AHEAD: usize = 2;

/// What one pass of the job runs with, on every worker.
pub struct Pass<B> {
    /// The epochs that are left.
    pub plan: Plan,
    /// How many may be in flight.
    pub window_epochs: u64,
    /// The process's counters.
    pub meters: Arc<Meters>,
    /// Makes a worker's stages.
    pub build: B,
}

/// The stages of the first pass, and its ledger.
pub struct ScatterStages {
    /// Reads row groups.
    pub read: ReadInteractions,
    /// Writes partitions.
    pub write: WriteInteractions,
    /// Records epochs.
    pub ledger: Ledger<()>,
    /// Hash partitions of users.
    pub partitions: u32,
}

/// The first pass: every interaction to the partition of its user.
pub fn scatter<B>(cluster: &Cluster, run: &str, pass: Pass<B>) -> Result<()>
where
    B: Fn() -> ScatterStages + Send + Sync + 'static,
{
    execute(cluster, run, pass, |scope, shards, stages, pass, done| {
        let ScatterStages { read, write, ledger, partitions } = stages;
        let of = move |user: &Key| u64::from(partition_of(user, partitions));
        let planned = planned(shards.clone());
        let (events, unread) = offload(shards, Engine::start(READ_AHEAD, || read), 1, &pass.meters);
        let by_user = Exchange::new(move |event: &crate::types::Interaction| of(&event.user));
        let failed = unread.clone().filter(|setback| matches!(setback, Setback::Failed(_)));
        let sealed =
            seal(events, failed.broadcast(), "partition", by_user, move |event| of(&event.user));
        let parts = sealed.map(|s| Partition {
            epoch: s.epoch,
            partition: s.partition as u32,
            rows: s.rows,
        });
        let (written, unwritten) =
            offload(parts, Engine::start(READ_AHEAD, || write), 1, &pass.meters);
        let receipts = [planned, kept(written), lost(scope, [unread, unwritten])];
        commit(scope.concatenate(receipts), ledger, done, &pass.meters);
    })
}

/// The stages of the k-core, and its ledger.
pub struct DictionaryStages {
    /// Reads (user, item) pairs.
    pub read: ReadPairs,
    /// Records the epoch.
    pub ledger: Ledger<Key>,
    /// Interactions that a user must have.
    pub user_min: u32,
    /// Interactions that an item must have.
    pub item_min: u32,
}

/// The second pass: which items are left when users and items with too few interactions are gone.
pub fn dictionary<B>(cluster: &Cluster, run: &str, pass: Pass<B>) -> Result<()>
where
    B: Fn() -> DictionaryStages + Send + Sync + 'static,
{
    execute(cluster, run, pass, |scope, partitions, stages, pass, done| {
        let DictionaryStages { read, ledger, user_min, item_min } = stages;
        let planned = planned(partitions.clone());
        let epoch = pass.plan.epochs.first().map_or(0, |(epoch, _)| *epoch);
        let (pairs, unread) =
            offload(partitions, Engine::start(READ_AHEAD, || read), 1, &pass.meters);
        let pairs = pairs.map(move |pair| (pair, epoch, 1)).as_collection();
        let items = core(pairs, user_min, item_min).map(|(_, item)| item).distinct();
        // Within one epoch what is taken back cancels out, and `consolidate` makes it do so.
        let items = items.consolidate().inner.map(|(item, _, _)| Receipt::Extra(item));
        let receipts = [planned, items, lost(scope, [unread])];
        commit(scope.concatenate(receipts), ledger, done, &pass.meters);
    })
}

/// The stages of the last pass, and its ledger.
pub struct SequenceStages {
    /// Builds a partition's sequences.
    pub build: BuildSequences,
    /// Writes them.
    pub write: WriteSequences,
    /// Records epochs.
    pub ledger: Ledger<Vec<(u32, u64)>>,
}

/// The third pass: each user's sequence over the items that are left.
pub fn sequences<B>(cluster: &Cluster, run: &str, pass: Pass<B>) -> Result<()>
where
    B: Fn() -> SequenceStages + Send + Sync + 'static,
{
    execute(cluster, run, pass, |scope, partitions, stages, pass, done| {
        let SequenceStages { build, write, ledger } = stages;
        let planned = planned(partitions.clone());
        let (built, unbuilt) =
            offload(partitions, Engine::start(READ_AHEAD, || build), 1, &pass.meters);
        let (written, unwritten) =
            offload(built, Engine::start(READ_AHEAD, || write), 1, &pass.meters);
        let receipts = [planned, kept(written), lost(scope, [unbuilt, unwritten])];
        commit(scope.concatenate(receipts), ledger, done, &pass.meters);
    })
}

/// Runs one pass on every worker: builds its graph over the tasks and steps it to the end.
pub(super) fn execute<B, S, G>(cluster: &Cluster, run: &str, pass: Pass<B>, graph: G) -> Result<()>
where
    B: Fn() -> S + Send + Sync + 'static,
    G: for<'s> Fn(Scope<'s, Epoch>, Flow<'s, Task>, S, &Pass<B>, &Done) + Send + Sync + 'static,
{
    let meters = Arc::clone(&pass.meters);
    let epochs: Vec<Epoch> = pass.plan.epochs.iter().map(|(epoch, _)| *epoch).collect();
    let (digest, mine) = (format!("{run}/{}/{epochs:?}", pass.plan.phase), cluster.clone());
    cluster.execute(&digest, move |worker: &mut Worker| {
        let done = Done::new();
        worker.dataflow::<Epoch, _, _>(|scope| {
            let (epochs, window) = (pass.plan.epochs.clone(), pass.window_epochs);
            let tasks = tasks(scope, epochs, window, &done, Arc::clone(&pass.meters));
            graph(scope, tasks, (pass.build)(), &pass, &done);
        });
        drive(worker, &done, &pass.meters, &mine);
    })?;
    match meters.failure() {
        Some(why) => Err(crate::error::Error::Incomplete(why)),
        None => Ok(()),
    }
}

/// Every task leaves a receipt.
pub(super) fn planned<'s, X: 'static>(tasks: Flow<'s, Task>) -> Flow<'s, Receipt<X>> {
    tasks.map(|task| Receipt::Task { shard: task.shard, rows: task.rows })
}

/// A written part leaves two: itself, and what the job adds.
pub(super) fn kept<'s, X: 'static>(written: Flow<'s, Written<X>>) -> Flow<'s, Receipt<X>> {
    written.flat_map(|Written { part, covers, extra }| {
        [Receipt::Part { part, covers }, Receipt::Extra(extra)]
    })
}

/// What did not get through.
pub(super) fn lost<'s, X: Clone + 'static>(
    scope: Scope<'s, Epoch>,
    setbacks: impl IntoIterator<Item = Flow<'s, Setback>>,
) -> Flow<'s, Receipt<X>> {
    scope.concatenate(setbacks).map(Receipt::Setback)
}
