//! The three passes of a `prepare` job over what is not committed yet.

use super::super::runs::{Options, names, unfinished};
use super::Opened;
use super::catalogue::Segments;
use crate::error::Result;
use crate::flow::Meters;
use crate::flow::commit::{Folded, Record};
use crate::flow::prepare::{
    DictionaryStages, Pass, ScatterStages, SequenceStages, dictionary, scatter, sequences,
};
use crate::plan::Plan;
use crate::spec::{Job, PrepareSpec};
use crate::stage::read::ReadInteractions;
use crate::stage::scatter::{BuildSequences, Partitions, ReadPairs};
use crate::stage::write::{WriteInteractions, WriteSequences};
use crate::store::{Commit, RunDir, exposure_key, part, part_key};
use crate::types::{Catalogue, Epoch, ItemId, Key};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// What the passes of a job share.
pub struct Passes<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its kind's part.
    pub spec: &'a PrepareSpec,
    /// Its inputs and its run.
    pub opened: &'a Opened,
    /// Who takes part.
    pub options: &'a Options,
    /// The process's counters.
    pub meters: &'a Arc<Meters>,
    /// Faults of the epochs that were committed before.
    pub faults: u64,
}

impl Passes<'_> {
    fn pass<B>(&self, plan: Plan, build: B) -> Pass<B> {
        let window_epochs = self.job.run.window_epochs;
        Pass { plan, window_epochs, meters: Arc::clone(self.meters), build }
    }

    fn record(&self, conserves: bool) -> Record {
        let files = self.opened.inputs.files.iter();
        let paths: Vec<PathBuf> = files.map(|file| file.path().to_path_buf()).collect();
        Record {
            run: self.opened.run.clone(),
            conserves,
            faults: self.faults,
            faults_max: self.job.run.faults_max,
            shards: Arc::new(names(&paths)),
            meters: Arc::clone(self.meters),
        }
    }

    /// What the first pass wrote.
    fn partitions(&self, mut commits: BTreeMap<Epoch, Commit>) -> Result<Partitions> {
        let scatter = &self.opened.plans[0];
        commits.retain(|epoch, _| *epoch < scatter.end());
        if commits.len() < scatter.epochs.len() {
            return Err(unfinished(&self.opened.run));
        }
        Ok(Partitions {
            run: self.opened.run.clone(),
            scattered: Arc::new(commits.into_values().collect()),
            duplicates: self.spec.filter.duplicates,
            weight_min: self.spec.interactions.weight_min,
        })
    }

    /// Every interaction to the partition of its user.
    pub fn scatter(&self, committed: &BTreeSet<Epoch>) -> Result<()> {
        let plan = self.opened.plans[0].resume(committed);
        if plan.epochs.is_empty() {
            return Ok(());
        }
        let inputs = &self.opened.inputs;
        let files = Arc::clone(&inputs.files);
        let items = inputs.known_items().map(Arc::new);
        let (run, partitions) = (self.opened.run.clone(), self.spec.output.partitions);
        let record = self.record(true);
        let build = move || ScatterStages {
            read: ReadInteractions { files: Arc::clone(&files), items: items.clone() },
            write: WriteInteractions(run.clone()),
            ledger: record.ledger(|_, _| Ok((serde_json::Value::Null, vec![]))),
            partitions,
        };
        scatter(&self.options.cluster, self.opened.run.name(), self.pass(plan, build))
    }

    /// The k-core's items.
    pub fn dictionary(&self, committed: &BTreeSet<Epoch>) -> Result<()> {
        let plan = self.opened.plans[1].resume(committed);
        if plan.epochs.is_empty() {
            return Ok(());
        }
        let partitions = self.partitions(self.opened.run.commits()?)?;
        let record = self.record(false);
        let filter = self.spec.filter.clone();
        let build = move || {
            let run = record.run.clone();
            DictionaryStages {
                read: ReadPairs(partitions.clone()),
                ledger: record.ledger(move |epoch, keys| put_keys(&run, epoch, keys)),
                user_min: filter.user_min,
                item_min: filter.item_min,
            }
        };
        dictionary(&self.options.cluster, self.opened.run.name(), self.pass(plan, build))
    }

    /// Each user's sequence.
    pub fn sequences(&self, committed: &BTreeSet<Epoch>) -> Result<()> {
        let plan = self.opened.plans[2].resume(committed);
        if plan.epochs.is_empty() {
            return Ok(());
        }
        let commits = self.opened.run.commits()?;
        let keys = self.opened.keys(&commits)?;
        let ids = keys.into_iter().enumerate().map(|(id, key)| (key, id as ItemId));
        let items: Arc<HashMap<Key, ItemId>> = Arc::new(ids.collect());
        let segments = Segments::of(self.spec, self.opened.inputs.users.as_ref())?;
        let (count, of_user) = (segments.attributes.len(), Arc::new(segments.of_user));
        let mut epochs = vec![0; self.spec.output.partitions as usize];
        for (epoch, tasks) in &self.opened.plans[2].epochs {
            tasks.iter().for_each(|task| epochs[task.shard as usize] = *epoch);
        }
        let (partitions, record) = (self.partitions(commits)?, self.record(false));
        let (user_min, split) = (self.spec.filter.user_min, self.spec.split);
        let build = move || {
            let run = record.run.clone();
            SequenceStages {
                build: BuildSequences {
                    partitions: partitions.clone(),
                    items: Arc::clone(&items),
                    user_min,
                    split,
                    segments: Arc::clone(&of_user),
                    segment_count: count,
                },
                write: WriteSequences { run: run.clone(), epochs: epochs.clone() },
                ledger: record.ledger(move |epoch, counts| put_popularity(&run, epoch, counts)),
            }
        };
        sequences(&self.options.cluster, self.opened.run.name(), self.pass(plan, build))
    }
}

/// The core's items as a catalogue of keys alone.
fn put_keys(run: &RunDir, epoch: Epoch, mut keys: Vec<Key>) -> Result<Folded> {
    keys.sort_unstable();
    let catalogue = Catalogue {
        titles: vec![Box::default(); keys.len()],
        popularity: vec![0; keys.len()],
        keys,
        ..Catalogue::default()
    };
    let bytes = part::catalogue::encode(&catalogue)?;
    let rows = catalogue.len() as u64;
    let part = run.put_part(part_key(epoch, 0), rows, bytes.into())?;
    Ok((serde_json::Value::Null, vec![part]))
}

/// How often each item is learned from, in this epoch's partitions.
fn put_popularity(run: &RunDir, epoch: Epoch, counts: Vec<Vec<(u32, u64)>>) -> Result<Folded> {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for (item, count) in counts.into_iter().flatten() {
        *sums.entry(item).or_default() += count;
    }
    let row = |(item, count)| part::exposure::Exposure { arm: 0, item, cutoff: 0, count };
    let rows: Vec<_> = sums.into_iter().map(row).collect();
    let bytes = part::exposure::encode(&rows)?;
    let part = run.put_part(exposure_key(epoch), rows.len() as u64, bytes.into())?;
    Ok((serde_json::Value::Null, vec![part]))
}
