//! `label` as a dataflow.
//!
//! ```text
//! tasks ─► read ─► request ─► judge ─► seal ─► write ─► commit
//!            └────────┴─────────┴─── faults ──────────────┘
//! ```
//!
//! Rows never change the worker. Who writes requests and who judges may be far away and slow: they
//! are engines, which get what has gathered while they were busy.

use super::cluster::Cluster;
use super::commit::{Ledger, commit};
use super::prepare::{Pass, execute, kept, lost, planned};
use super::{offload::offload, seal::seal};
use crate::engine::Engine;
use crate::error::Result;
use crate::stage::judge::{Answered, Judge};
use crate::stage::labels::{LabelSums, WriteJudgements};
use crate::stage::pose::Pose;
use crate::stage::users::ReadUsers;
use crate::stage::write::Partition;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;

/// Batches in flight between a worker and its engines.
const AHEAD: usize = 2;

/// The stages of a worker, and the job's ledger.
pub struct LabelStages {
    /// Who asks.
    pub read: ReadUsers,
    /// For what.
    pub pose: Pose,
    /// How well items answer it.
    pub judge: Judge,
    /// How many devices a teacher computes on.
    pub devices: usize,
    /// Users whose requests a teacher gets at once, at most.
    pub users_at_once: usize,
    /// The parts.
    pub write: WriteJudgements,
    /// Records epochs.
    pub ledger: Ledger<LabelSums>,
}

/// Judgements of what users might ask for.
pub fn label<B>(cluster: &Cluster, run: &str, pass: Pass<B>) -> Result<()>
where
    B: Fn() -> LabelStages + Send + Sync + 'static,
{
    execute(cluster, run, pass, |scope, partitions, stages, pass, done| {
        let planned = planned(partitions.clone());
        let reader = Engine::start(AHEAD, || stages.read);
        let (users, unread) = offload(partitions, reader, 1, &pass.meters);
        let poser = Engine::start(AHEAD, || stages.pose);
        let (posed, unposed) = offload(users, poser, stages.users_at_once, &pass.meters);
        let judge = Engine::start_beside(stages.devices, move || stages.judge.clone());
        let (answered, unanswered) = offload(posed, judge, stages.users_at_once, &pass.meters);
        let shard = |user: &Answered| u64::from(user.origin.shard);
        let setbacks = [unread, unposed, unanswered];
        let before = scope.concatenate(setbacks.iter().cloned());
        let parts = seal(answered, before, "seal", Pipeline, shard).map(|s| Partition {
            epoch: s.epoch,
            partition: s.partition as u32,
            rows: s.rows,
        });
        let writer = Engine::start(AHEAD, || stages.write);
        let (written, unwritten) = offload(parts, writer, 1, &pass.meters);
        let setbacks = setbacks.into_iter().chain([unwritten]);
        let receipts = [planned, kept(written), lost(scope, setbacks)];
        commit(scope.concatenate(receipts), stages.ledger, done, &pass.meters);
    })
}
