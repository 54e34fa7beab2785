//! One user through the stages, for `explain`.

use super::Opened;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::flow::rerank::{RerankStages, Retrieved};
use crate::plan::Task;
use crate::spec::{Job, RerankSpec};
use crate::stage::{Outcome, Outcomes, Setback, Stage};
use crate::types::{Query, Ranked};
use std::sync::Arc;

/// The stages of a worker, over candidates from a retriever.
pub fn stages(job: &Job, spec: &RerankSpec, opened: &Opened) -> Result<RerankStages<Retrieved>> {
    let Some(trained) = &opened.trained else {
        return Err(Error::Input("given candidates: `explain` needs a retriever's".into()));
    };
    let meters = Arc::new(Meters::default());
    let shared = Shared::new(spec, opened, opened.record(job, 0, &meters))?;
    let barred = shared.barred(spec, opened.exclude.as_ref())?;
    Ok(shared.stages(opened.retrieved(spec, trained, barred)?))
}

/// Runs the stages for one user: the row of a partition.
pub fn one(
    job: &Job,
    spec: &RerankSpec,
    opened: &Opened,
    (shard, row): (u32, u32),
) -> Result<Outcome<Ranked>> {
    let mut stages = stages(job, spec, opened)?;
    let tasks: Vec<Task> =
        opened.plan.tasks().filter(|task| task.shard == shard).cloned().collect();
    let of_row = |query: &Outcome<Query>| match query {
        Outcome::Ok(query) => query.origin.row == row,
        Outcome::Setback(Setback::Fault(fault)) => fault.origin.row == row,
        Outcome::Setback(Setback::Failed(_)) => true,
    };
    let read = run_stage(&mut stages.source.read, tasks);
    let Some(query) = read.into_iter().find(of_row) else {
        return Err(Error::Input(format!("partition {shard}: no row {row}")));
    };
    Ok(then(then(then(query, &mut stages.source.retrieve), &mut stages.ask), &mut stages.arms))
}

/// One row through one stage.
fn then<S: Stage>(row: Outcome<S::In>, stage: &mut S) -> Outcome<S::Out> {
    match row {
        Outcome::Ok(row) => run_stage(stage, vec![row]).swap_remove(0),
        Outcome::Setback(setback) => Outcome::Setback(setback),
    }
}

fn run_stage<S: Stage>(stage: &mut S, rows: Vec<S::In>) -> Vec<Outcome<S::Out>> {
    let mut out = Outcomes::new(S::NAME);
    stage.run(rows, &mut out);
    out.into_rows()
}
