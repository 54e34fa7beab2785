//! A rerank job as a plain for loop: what the dataflow must come to, byte for byte, however it is
//! spread over workers. The stages are the job's own; what moves rows between them is not.

use crate::error::Result;
use crate::flow::rerank::{RerankStages, Retrieved};
use crate::metric::Tally;
use crate::plan::{Plan, Task};
use crate::stage::write::{Judged, Measured, Partition, add_costs};
use crate::stage::{Outcomes, Setback, Stage};
use crate::store::{Commit, PartRef, exposure_key, fault_key, part, part_key};
use crate::types::{Candidates, Epoch, Fault, StageName};
use std::collections::BTreeMap;

/// What a run holds besides its manifest.
#[derive(Default)]
pub struct Expected {
    /// Parts of every kind, by key.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// The record of each epoch.
    pub commits: Vec<Commit>,
}

/// Does every epoch of a plan, one after the other, and writes nothing.
pub fn rerank(plan: &Plan, mut stages: RerankStages<Retrieved>) -> Result<Expected> {
    let shards: Vec<&str> = plan.tasks().map(|task| task.name.as_str()).collect();
    let mut expected = Expected::default();
    for (epoch, tasks) in &plan.epochs {
        let commit = do_epoch(*epoch, tasks, &shards, &mut stages, &mut expected.objects)?;
        expected.commits.push(commit);
    }
    Ok(expected)
}

fn do_epoch(
    epoch: Epoch,
    tasks: &[Task],
    shards: &[&str],
    stages: &mut RerankStages<Retrieved>,
    objects: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Commit> {
    let mut commit = Commit { epoch, ..Commit::default() };
    let mut faults = Vec::new();
    let mut all = Measured::default();
    let mut put = |key: String, rows: u64, bytes: Vec<u8>| {
        let part = PartRef::of(key.clone(), rows, &bytes);
        objects.insert(key, bytes);
        part
    };
    for task in tasks {
        let read = through(&mut stages.source.read, vec![task.clone()], &mut faults);
        let found = through(&mut stages.source.retrieve, read, &mut faults);
        let asked = through(&mut stages.ask, found, &mut faults);
        let walked = walked(stages, asked, &mut faults);
        let mut ranked = through(&mut stages.arms, walked, &mut faults);
        if let Some(stage) = &mut stages.sweep {
            let lists = Partition { epoch, partition: task.shard, rows: ranked };
            let part = Judged { lists, measured: Measured::default() };
            let part = through(stage, vec![part], &mut faults).remove(0);
            add_points(&mut all, &part.measured);
            ranked = part.lists.rows;
        }
        stages.measure.0.add(&ranked, &mut all.tally, &mut all.exposure);
        let conflicts = ranked.iter().filter(|r| r.candidates.query.conflict.is_some());
        all.conflicts += conflicts.count() as u64;
        all.add_ways(&ranked);
        commit.shards.push(task.shard);
        commit.rows_read += task.rows;
        if !ranked.is_empty() {
            let (bytes, rows) = (stages.write.encode)(&ranked)?;
            commit.rows_written += rows;
            commit.parts.push(put(part_key(epoch, task.shard), rows, bytes));
        }
    }
    let row = |row: crate::metric::ExposureRow| part::exposure::Exposure {
        arm: u32::from(row.arm),
        item: row.item,
        cutoff: u32::from(row.cutoff),
        count: row.count,
    };
    let shown: Vec<_> = all.exposure.rows().map(row).collect();
    let bytes = part::exposure::encode(&shown)?;
    commit.parts.push(put(exposure_key(epoch), shown.len() as u64, bytes));
    commit.parts.sort_by(|a, b| a.key.cmp(&b.key));
    commit.payload = payload(&all);
    if !faults.is_empty() {
        faults.sort_unstable();
        commit.rows_faulted = faults.len() as u64;
        for fault in &faults {
            let kinds = commit.faults.entry(fault.stage).or_default();
            *kinds.entry(fault.kind.name().to_owned()).or_default() += 1;
        }
        let bytes = part::faults::encode(&faults, |shard| shards[shard as usize])?;
        commit.fault_part = Some(put(fault_key(epoch), commit.rows_faulted, bytes));
    }
    Ok(commit)
}

/// Rows with what came of their ways through graphs of nodes, if there are any.
fn walked(
    stages: &mut RerankStages<Retrieved>,
    rows: Vec<Candidates>,
    faults: &mut Vec<Fault>,
) -> Vec<Candidates> {
    let Some(walks) = &mut stages.walks else { return rows };
    let mut out = Outcomes::new(StageName::Walk);
    let walked = walks.begin.walk(rows, &mut out);
    told(StageName::Walk, out.into_parts().1, faults);
    walked
}

/// Adds what the points of a sweep come to.
fn add_points(all: &mut Measured, one: &Measured) {
    all.sweep.resize_with(one.sweep.len(), Tally::default);
    all.sweep.iter_mut().zip(&one.sweep).for_each(|(sum, one)| sum.merge(one));
    all.sweep_costs.resize_with(one.sweep_costs.len(), Vec::new);
    all.sweep_costs.iter_mut().zip(&one.sweep_costs).for_each(|(sum, one)| add_costs(sum, one));
}

fn payload(all: &Measured) -> serde_json::Value {
    fn texts<T: serde::Serialize>(points: &[T]) -> serde_json::Value {
        let text = |point| serde_json::to_string(point).expect("lists of integers");
        points.iter().map(text).collect()
    }
    let mut payload = serde_json::json!({ "tally": all.tally, "conflicts": all.conflicts });
    if !all.walks.is_empty() {
        payload["walks"] = serde_json::json!(all.walks);
    }
    if !all.sweep.is_empty() {
        payload["sweep"] = texts(&all.sweep);
    }
    if !all.costs.is_empty() {
        payload["costs"] = serde_json::json!(all.costs);
    }
    if all.sweep_costs.iter().any(|costs| !costs.is_empty()) {
        payload["sweep_costs"] = texts(&all.sweep_costs);
    }
    payload
}

/// All rows through one stage at once; those that end there join the others that did.
///
/// # Panics
/// If the stage cannot go on: in a test that is a failure.
fn through<S: Stage>(stage: &mut S, rows: Vec<S::In>, faults: &mut Vec<Fault>) -> Vec<S::Out> {
    let mut out = Outcomes::new(S::NAME);
    stage.run(rows, &mut out);
    let (on, setbacks) = out.into_parts();
    told(S::NAME, setbacks, faults);
    on
}

fn told(stage: StageName, setbacks: Vec<Setback>, faults: &mut Vec<Fault>) {
    faults.extend(setbacks.into_iter().map(|setback| match setback {
        Setback::Fault(fault) => fault,
        Setback::Failed(why) => panic!("{stage}: {why}"),
    }));
}
