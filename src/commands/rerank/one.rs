//! One user through the stages, for `explain`.

use super::Opened;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::flow::rerank::{RerankStages, Retrieved};
use crate::flow::{Meters, Walks};
use crate::plan::Task;
use crate::report::explain::Way;
use crate::spec::{ArmSpec, Job, RerankSpec, StepSpec};
use crate::stage::language::{PoseQuestions, Reacher, Search};
use crate::stage::node_graph::{Graph, Graphs};
use crate::stage::{Outcomes, Setback, Stage};
use crate::types::{Candidates, Control, NodeId, Ranked, StageName, Walk};
use std::sync::Arc;

/// The stages of a worker, over candidates from a retriever.
pub fn stages(job: &Job, spec: &RerankSpec, opened: &Opened) -> Result<RerankStages<Retrieved>> {
    let Some(trained) = &opened.trained else {
        return Err(Error::Input("given candidates: `explain` needs a retriever's".into()));
    };
    let meters = Arc::new(Meters::default());
    let shared = Shared::new(spec, opened, opened.record(job, 0, &meters))?;
    let barred = shared.barred(spec, opened.exclude.as_ref())?;
    let encode = trained.encode_on(&spec.device, spec.device_tokens_max)?;
    let shared = shared.searching(spec, (trained, &encode), &barred)?;
    Ok(shared.stages(opened.retrieved(spec, (trained, encode), barred)?))
}

/// What the stages make of one user.
pub struct One {
    /// Its lists.
    pub ranked: Option<Ranked>,
    /// Of each arm that begins with a model: which, and the prompt, as people read it and as
    /// tokens.
    pub prompts: Vec<(usize, String, Vec<u32>)>,
    /// What the rules understand of the user's request, whether or not it joins the controls.
    pub understood: Vec<Control>,
    /// The user in words, as the first encoder of the arms reads them.
    pub context: Option<String>,
    /// The user's ways through graphs of nodes.
    pub ways: Vec<Way>,
    /// What went wrong on the way.
    pub setbacks: Vec<Setback>,
}

/// Runs the stages for one user, the row of a partition: its lists.
pub fn one(job: &Job, spec: &RerankSpec, opened: &Opened, (shard, row): (u32, u32)) -> Result<One> {
    let mut stages = stages(job, spec, opened)?;
    let tasks: Vec<Task> =
        opened.plan.tasks().filter(|task| task.shard == shard).cloned().collect();
    let mut setbacks = Vec::new();
    let queries = then(tasks, &mut stages.source.read, &mut setbacks);
    let query = queries.into_iter().find(|query| query.origin.row == row).into_iter().collect();
    setbacks.retain(|setback| match setback {
        Setback::Fault(fault) => fault.origin.row == row,
        Setback::Failed(_) => true,
    });
    let candidates = then(query, &mut stages.source.retrieve, &mut setbacks);
    let asked = then(candidates, &mut stages.ask, &mut setbacks);
    let asked = reached(asked, stages.search.as_ref(), &mut setbacks);
    let asked = walked(asked, stages.walks.as_mut(), &mut setbacks);
    let prompts = asked.iter().flat_map(|row| stages.arms.prompts(row)).collect();
    let ranked = then(asked, &mut stages.arms, &mut setbacks).pop();
    let query = ranked.as_ref().map(|ranked: &Ranked| &ranked.candidates.query);
    let understood = query.map(|query| stages.ask.understood(query)).unwrap_or_default();
    let context = query.and_then(|query| stages.arms.context(query));
    let graphs = stages.walks.as_ref().map(|walks| &walks.graphs);
    let row = ranked.as_ref().map(|ranked| &ranked.candidates);
    let ways = graphs.zip(row).map(|(graphs, row)| ways(spec, graphs, row)).unwrap_or_default();
    Ok(One { ranked, prompts, understood, context, ways, setbacks })
}

/// Rows with what searches of the whole catalogue find for them, if there are any.
fn reached(
    rows: Vec<Candidates>,
    search: Option<&Arc<Search>>,
    setbacks: &mut Vec<Setback>,
) -> Vec<Candidates> {
    let Some(search) = search else { return rows };
    let mut pose = PoseQuestions { search: Arc::clone(search), home: 0 };
    let posed = then(rows, &mut pose, setbacks);
    let mut reacher = Reacher::new(Arc::clone(search), 0, 1);
    let mut out = Outcomes::new(StageName::Language);
    let questions = reacher.ask(posed, &mut out);
    for answer in reacher.answer(&questions) {
        reacher.hear(answer, &mut out);
    }
    let (on, mut back) = out.into_parts();
    setbacks.append(&mut back);
    on
}

/// Rows with what came of their ways through graphs of nodes, if there are any.
fn walked(
    rows: Vec<Candidates>,
    walks: Option<&mut Walks>,
    setbacks: &mut Vec<Setback>,
) -> Vec<Candidates> {
    let Some(walks) = walks else { return rows };
    let mut out = Outcomes::new(StageName::Walk);
    let walked = walks.begin.walk(rows, &mut out);
    setbacks.append(&mut out.into_parts().1);
    walked
}

/// The user's ways through graphs of nodes, in words.
fn ways(spec: &RerankSpec, graphs: &Graphs, row: &Candidates) -> Vec<Way> {
    let graph = |step: &StepSpec| matches!(step, StepSpec::NodeGraph(_));
    let arms = spec.arms.iter().filter(|arm| arm.steps.iter().any(graph));
    let walks = row.reach.iter().flat_map(|reach| &reach.walks);
    let way = |((arm, graph), walk): ((&ArmSpec, &Arc<Graph>), &Walk)| {
        let name = |node: NodeId| graph.nodes[usize::from(node)].name.clone();
        let goal = graph.goal_of(&row.query).to_owned();
        let aims = graph.aims(&goal);
        let weighed = graph.nodes.iter().zip(&aims.weights).filter(|(_, weight)| **weight > 0.0);
        Way {
            arm: arm.name.clone(),
            goal,
            weights: weighed.map(|(node, weight)| (node.name.clone(), *weight)).collect(),
            doubts: aims.doubts.iter().map(|doubt| doubt.to_string()).collect(),
            nodes: walk
                .path
                .iter()
                .map(|visit| name(visit.node))
                .chain([name(graph.stop)])
                .collect(),
            limited: walk.limited,
        }
    };
    arms.zip(graphs.iter()).zip(walks).map(way).collect()
}

/// Rows through one stage.
fn then<S: Stage>(rows: Vec<S::In>, stage: &mut S, setbacks: &mut Vec<Setback>) -> Vec<S::Out> {
    let mut out = Outcomes::new(S::NAME);
    stage.run(rows, &mut out);
    let (on, mut back) = out.into_parts();
    setbacks.append(&mut back);
    on
}
