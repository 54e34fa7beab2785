//! Brings a `prepare` job's run up to date.

mod catalogue;
mod inputs;
mod passes;

use super::demo_data;
use super::runs::{Options, hash_inputs, manifest, unfinished};
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::plan::{Plan, Task};
use crate::spec::{Job, PrepareSpec};
use crate::store::input::InteractionFile;
use crate::store::{Commit, PartRef, RunDir, Store, exposure_key, part, part_key};
use crate::types::{Catalogue, Epoch, Key};
use inputs::Inputs;
use passes::Passes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Partitions of an epoch of the last pass.
const EPOCH_PARTITIONS: usize = 4;

/// A finished prepare run, as later jobs read it.
pub struct Prepared {
    /// Its directory.
    pub run: RunDir,
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// What it came to.
    pub facts: Facts,
    /// The parts of sequences, in the order of partitions.
    pub sequences: Arc<Vec<PartRef>>,
}

/// What a prepare run came to: the payload of its last commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Users with a sequence.
    pub users: u64,
    /// Items of the catalogue.
    pub items: u64,
    /// Rows of the raw input.
    pub rows_read: u64,
    /// Rows that faulted.
    pub rows_faulted: u64,
    /// Names and labels of the users' segments.
    pub segments: Vec<(String, Vec<String>)>,
}

/// A job with its inputs opened and its run known: ready to be planned or run.
pub struct Opened {
    /// The inputs.
    pub inputs: Inputs,
    /// The run.
    pub run: RunDir,
    /// The passes: scatter, dictionary, sequences.
    pub plans: [Plan; 3],
}

/// Opens and checks everything that the job reads.
pub fn open(job: &Job, spec: &PrepareSpec, store: &Store) -> Result<Opened> {
    let inputs = Inputs::open(spec, store)?;
    let refs = hash_inputs(store, &inputs.paths)?;
    let run = RunDir::at(store, manifest(job, refs, &[]));
    let plans = plans(spec, &inputs.files)?;
    Ok(Opened { inputs, run, plans })
}

/// The job as it is planned: as [`open`], without making the data that the job would make.
pub fn planned(job: &Job, spec: &PrepareSpec, store: &Store) -> Result<Option<Opened>> {
    let made = spec.generate.as_ref().is_none_or(|generate| demo_data::is_there(generate, store));
    made.then(|| open(job, spec, store)).transpose()
}

/// The epochs of the three passes.
fn plans(spec: &PrepareSpec, files: &[InteractionFile]) -> Result<[Plan; 3]> {
    let mut tasks = Vec::new();
    for (shard, file) in files.iter().enumerate() {
        let bytes = std::fs::metadata(file.path()).map_err(Error::io("read", file.path()))?.len();
        let groups = file.row_groups();
        for row_group in 0..groups {
            tasks.push(Task {
                shard: shard as u32,
                name: file.path().display().to_string(),
                row_group: row_group as u32,
                rows: file.rows(row_group),
                bytes: bytes / groups as u64,
            });
        }
    }
    let rows: u64 = tasks.iter().map(|task| task.rows).sum();
    let scatter = Plan::pack("scatter", 0, tasks, spec.output.epoch_rows, usize::MAX);
    let count = spec.output.partitions;
    let partitions: Vec<Task> = (0..count)
        .map(|p| Task {
            shard: p,
            name: format!("partition {p}"),
            row_group: 0,
            rows: rows / u64::from(count),
            bytes: 0,
        })
        .collect();
    let first = scatter.end();
    let core = Plan::pack("dictionary", first, partitions.clone(), u64::MAX, usize::MAX);
    let last = Plan::pack("sequences", core.end(), partitions, u64::MAX, EPOCH_PARTITIONS);
    Ok([scatter, core, last])
}

/// The epoch of the catalogue: after all passes.
fn catalogue_epoch(plans: &[Plan; 3]) -> Epoch {
    plans[2].end()
}

/// Does what is not done yet. Gives the number of epochs that were.
pub fn run(
    job: &Job,
    spec: &PrepareSpec,
    opened: &Opened,
    options: &Options,
    meters: &Arc<Meters>,
) -> Result<u64> {
    opened.run.create()?;
    let committed = opened.run.epochs()?;
    if committed.len() as u64 >= opened.epochs() {
        return Ok(committed.len() as u64);
    }
    let faults = opened.run.commits()?.values().map(|commit| commit.rows_faulted).sum();
    let pass = Passes { job, spec, opened, options, meters, faults };
    pass.scatter(&committed)?;
    pass.dictionary(&committed)?;
    pass.sequences(&committed)?;
    let last = catalogue_epoch(&opened.plans);
    if !committed.contains(&last) {
        let finish = || catalogue::finish(spec, opened, last);
        options.cluster.once(&format!("{}/catalogue", opened.run.name()), finish)?;
        meters.epochs_done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(committed.len() as u64)
}

impl Opened {
    /// Epochs of all passes, and the catalogue's.
    pub fn epochs(&self) -> u64 {
        self.plans.iter().map(|plan| plan.epochs.len() as u64).sum::<u64>() + 1
    }

    /// The core's items.
    fn keys(&self, commits: &BTreeMap<Epoch, Commit>) -> Result<Vec<Key>> {
        let epoch = self.plans[1].end() - 1;
        let part = commits.get(&epoch).and_then(|commit| commit.part(&part_key(epoch, 0)));
        let part = part.ok_or_else(|| unfinished(&self.run))?;
        let path = self.run.path(&part.key).display().to_string();
        Ok(part::catalogue::decode(&path, self.run.get_part(part)?)?.keys)
    }
}

/// What a finished run came to.
pub fn facts(run: &RunDir) -> Result<Facts> {
    facts_of(run, &run.commits()?)
}

fn facts_of(run: &RunDir, commits: &BTreeMap<Epoch, Commit>) -> Result<Facts> {
    let payload = commits.values().next_back().map(|commit| commit.payload.clone());
    payload.and_then(|p| serde_json::from_value(p).ok()).ok_or_else(|| unfinished(run))
}

/// What a finished run holds, for the jobs that read it.
pub fn finished(run: RunDir) -> Result<Prepared> {
    let commits = run.commits()?;
    let facts = facts_of(&run, &commits)?;
    let Some((_, last)) = commits.last_key_value() else { return Err(unfinished(&run)) };
    let [part] = last.parts.as_slice() else { return Err(unfinished(&run)) };
    let path = run.path(&part.key).display().to_string();
    let catalogue = Arc::new(part::catalogue::decode(&path, run.get_part(part)?)?);
    let with_popularity =
        |commit: &&Commit| commit.parts.iter().any(|part| part.key == exposure_key(commit.epoch));
    let parts = commits.values().filter(with_popularity).flat_map(|commit| {
        commit.parts.iter().filter(|part| part.key != exposure_key(commit.epoch)).cloned()
    });
    let sequences = Arc::new(parts.collect());
    Ok(Prepared { run, catalogue, facts, sequences })
}
