//! One user through the stages, for `explain`.

use super::Opened;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::flow::Meters;
use crate::flow::rerank::{RerankStages, Retrieved};
use crate::plan::Task;
use crate::spec::{Job, RerankSpec};
use crate::stage::{Outcomes, Setback, Stage, read::ReadSequences};
use crate::types::Ranked;
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

/// Runs the stages for one user, the row of a partition: its lists, or why it has none.
pub fn one(
    job: &Job,
    spec: &RerankSpec,
    opened: &Opened,
    (shard, row): (u32, u32),
) -> Result<Result<Ranked, Setback>> {
    let mut stages = stages(job, spec, opened)?;
    let tasks: Vec<Task> =
        opened.plan.tasks().filter(|task| task.shard == shard).cloned().collect();
    let mut out = Outcomes::new(ReadSequences::NAME);
    stages.source.read.run(tasks, &mut out);
    let (queries, setbacks) = out.into_parts();
    let Some(query) = queries.into_iter().find(|query| query.origin.row == row) else {
        let of_row = |setback: &Setback| match setback {
            Setback::Fault(fault) => fault.origin.row == row,
            Setback::Failed(_) => true,
        };
        let setback = setbacks.into_iter().find(of_row).map(Err);
        return setback.ok_or_else(|| {
            Error::Input(format!("partition {shard}: expected {row} rows or more"))
        });
    };
    Ok(then(query, &mut stages.source.retrieve)
        .and_then(|candidates| then(candidates, &mut stages.ask))
        .and_then(|candidates| then(candidates, &mut stages.arms)))
}

/// One row through one stage.
fn then<S: Stage>(row: S::In, stage: &mut S) -> Result<S::Out, Setback> {
    let mut out = Outcomes::new(S::NAME);
    stage.run(vec![row], &mut out);
    let (mut rows, mut setbacks) = out.into_parts();
    rows.pop().ok_or_else(|| setbacks.pop().expect("a row has an outcome"))
}
