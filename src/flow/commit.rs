//! The end of an epoch: everything that is left of it reaches worker 0, which records it once.

use super::seal::{Sealed, seal};
use super::{Done, Flow, Meters, offload::offload};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::stage::{Outcomes, Setback, Stage};
use crate::store::{Commit, PartRef, RunDir, fault_key, part};
use crate::types::{Epoch, Fault, StageName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use timely::ExchangeData;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, Inspect};

/// What the commit of an epoch is made of. `X` is what a job adds of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Receipt<X> {
    /// A task was given out: so that an epoch without a single good row still commits.
    Task {
        /// Its shard.
        shard: u32,
        /// The rows it has.
        rows: u64,
    },
    /// A part was written.
    Part {
        /// Which.
        part: PartRef,
        /// Rows of the tasks that ended in it.
        covers: u64,
    },
    /// A row ended early, or the epoch failed.
    Setback(Setback),
    /// The job's own: sums, keys.
    Extra(X),
}

/// What a job makes of its own receipts: the commit's payload, and parts it wrote for it.
pub type Folded = (serde_json::Value, Vec<PartRef>);

type Fold<X> = Box<dyn FnMut(Epoch, Vec<X>) -> Result<Folded> + Send>;

/// How epochs are recorded, whatever the job.
#[derive(Clone)]
pub struct Record {
    /// Where to.
    pub run: RunDir,
    /// Whether every row of a task must be in a part or be a fault.
    pub conserves: bool,
    /// Faults in the epochs that were committed before.
    pub faults: u64,
    /// Faults at which the job stops.
    pub faults_max: u64,
    /// The names of shards, for the dead-letter file.
    pub shards: Arc<Vec<String>>,
    /// The process's counters.
    pub meters: Arc<Meters>,
}

/// Records epochs. Runs on an engine of worker 0, since it waits for the disk.
pub struct Ledger<X> {
    record: Record,
    fold: Fold<X>,
}

impl Record {
    /// The ledger of a job that makes `fold` of its own receipts.
    pub fn ledger<X>(
        &self,
        fold: impl FnMut(Epoch, Vec<X>) -> Result<Folded> + Send + 'static,
    ) -> Ledger<X> {
        Ledger { record: self.clone(), fold: Box::new(fold) }
    }
}

/// Hands the ledger all receipts of an epoch once every worker is done with it; then moves `done`.
/// When an epoch fails, every process is told to stop.
pub fn commit<'s, X: ExchangeData + Send + Clone>(
    receipts: Flow<'s, Receipt<X>>,
    ledger: Ledger<X>,
    done: &Done,
    meters: &Arc<Meters>,
) {
    // What failed is among the receipts: the ledger says so.
    let none = empty(receipts.scope());
    let gathered = seal(receipts, none, "gather", Exchange::new(|_| 0), |_| 0);
    let engine = Engine::start(4, move || ledger);
    let (committed, failed) = offload(gathered, engine, 1, meters);
    let told = Arc::clone(meters);
    let failed = failed.broadcast().inspect(move |setback| {
        if let Setback::Failed(why) = setback {
            told.stop(why.clone());
        }
    });
    done.follow(committed.concat(failed.map(|_| ())));
}

impl<X: Send + 'static> Stage for Ledger<X> {
    type In = Sealed<Receipt<X>>;
    type Out = ();
    const NAME: StageName = StageName::Commit;

    fn run(&mut self, epochs: Vec<Sealed<Receipt<X>>>, out: &mut Outcomes<()>) {
        for epoch in epochs {
            match self.record(epoch.epoch, epoch.rows) {
                Ok(()) => out.ok(()),
                Err(error) => out.fail(&error),
            }
        }
    }
}

impl<X> Ledger<X> {
    fn record(&mut self, epoch: Epoch, receipts: Vec<Receipt<X>>) -> Result<()> {
        let mut commit = Commit { epoch, ..Commit::default() };
        let (mut faults, mut extras, mut covered) = (Vec::new(), Vec::new(), 0u64);
        for receipt in receipts {
            match receipt {
                Receipt::Task { shard, rows } => {
                    commit.shards.push(shard);
                    commit.rows_read += rows;
                }
                Receipt::Part { part, covers } => {
                    commit.rows_written += part.rows;
                    covered += covers;
                    commit.parts.push(part);
                }
                Receipt::Setback(Setback::Fault(fault)) => faults.push(fault),
                Receipt::Setback(Setback::Failed(why)) => return Err(Error::Incomplete(why)),
                Receipt::Extra(extra) => extras.push(extra),
            }
        }
        let record = &mut self.record;
        let lost = record.conserves.then(|| commit.rows_read.saturating_sub(covered));
        let origins: BTreeSet<_> = faults.iter().map(|fault| fault.origin).collect();
        assert!(
            lost.is_none_or(|lost| lost <= origins.len() as u64 && covered <= commit.rows_read),
            "epoch {epoch}: {} rows were read, {covered} are in parts and {} faulted",
            commit.rows_read,
            origins.len()
        );
        record.count(&faults)?;
        let (payload, mut parts) = (self.fold)(epoch, extras)?;
        commit.payload = payload;
        commit.parts.append(&mut parts);
        commit.parts.sort_by(|a, b| a.key.cmp(&b.key));
        commit.shards.sort_unstable();
        commit.shards.dedup();
        self.record.put(commit, faults)
    }
}

impl Record {
    /// Refuses the epoch with which the faults become too many.
    fn count(&mut self, faults: &[Fault]) -> Result<()> {
        self.faults += faults.len() as u64;
        if self.faults <= self.faults_max {
            return Ok(());
        }
        let example = faults.first().map_or(String::new(), |f| format!(" (such as: {})", f.kind));
        Err(Error::Incomplete(format!(
            "{} rows faulted{example}, and run.faults_max is {}: mend the input, or raise it",
            self.faults, self.faults_max
        )))
    }

    fn put(&self, commit: Commit, faults: Vec<Fault>) -> Result<()> {
        let (rows, faulted) = (commit.rows_read, faults.len() as u64);
        put_with_faults(&self.run, commit, faults, &self.shards)?;
        self.meters.faults.fetch_add(faulted, Relaxed);
        self.meters.rows.fetch_add(rows, Relaxed);
        self.meters.epochs_done.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Records an epoch and its faults: the dead-letter part first, since a commit vouches for it.
pub fn put_with_faults(
    run: &RunDir,
    mut commit: Commit,
    mut faults: Vec<Fault>,
    shards: &[String],
) -> Result<()> {
    commit.rows_faulted = faults.len() as u64;
    if !faults.is_empty() {
        faults.sort_unstable();
        for fault in &faults {
            let kinds = commit.faults.entry(fault.stage).or_default();
            *kinds.entry(fault.kind.name().to_owned()).or_default() += 1;
        }
        let shard = |at: u32| shards.get(at as usize).map_or("", String::as_str);
        let bytes = part::faults::encode(&faults, shard)?;
        let key = fault_key(commit.epoch);
        commit.fault_part = Some(run.put_part(key, commit.rows_faulted, bytes.into())?);
    }
    run.put_commit(&commit)
}
