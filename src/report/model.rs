//! The report as data: what every form shows and nothing else.

use crate::metric::{Estimate, Summary};
use crate::types::{Cost, StageName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that is said about a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the reader sees first; the job's own title.
    pub title: String,
    /// The job's name.
    pub job: String,
    /// The job's kind: `rerank`, `train-retriever`, …
    pub kind: String,
    /// The run directory's name.
    pub run: String,
    /// The version of the code that made the run.
    pub code: String,
    /// Hash of the resolved job and its inputs.
    pub spec: String,
    /// What to type to get this run again, in order.
    pub commands: Vec<String>,
    /// The arm whose lists are published; none for a run without arms.
    pub published: Option<String>,
    /// How much there was.
    pub facts: Facts,
    /// The metrics.
    pub summary: Summary,
    /// Rows and parts of rows given up, by stage and reason.
    pub faults: Vec<FaultGroup>,
    /// Rows whose controls could not all be met.
    pub conflicts: u64,
    /// What each arm's models read; empty where no arm has a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<ArmCost>,
    /// How alike the control tokens of each arm's model are, where something was learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cosines: Vec<ArmCosine>,
    /// What the job's `[sweep]` came to; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// Results that are no lists of arms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sheets: Vec<Sheet>,
    /// What the job's `[expect]` asks for.
    pub expectations: Vec<Expectation>,
    /// The training's course; empty when nothing was trained.
    pub training: Vec<TrainingPoint>,
    /// The runs that this one started from.
    pub upstream: Vec<Upstream>,
    /// What the reader should know before believing a figure; [`super::warnings`] adds its own.
    pub warnings: Vec<String>,
    /// How long it took. Differs from run to run: shown, but not in `report.json` nor any hash.
    #[serde(skip)]
    pub timings: Option<Timings>,
}

/// A table of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// Its heading.
    pub title: String,
    /// What to know before reading it.
    pub note: String,
    /// What its rows are.
    pub head: String,
    /// The other columns.
    pub columns: Vec<String>,
    /// Each row's name and cells.
    pub rows: Vec<(String, Vec<String>)>,
    /// What is drawn.
    pub caption: String,
    /// What is compared in the drawing, at most three.
    pub series: Vec<String>,
    /// The drawing's rows; none for a sheet without one.
    pub bars: Vec<Bar>,
    /// A drawing of who went where, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

/// Who went from node to node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The nodes' names; all ways start at the first and end at the last.
    pub nodes: Vec<String>,
    /// `counts[from][to]`.
    pub counts: Vec<Vec<u64>>,
}

/// A row of a sheet's drawing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Its name.
    pub label: String,
    /// Over how many.
    pub count: u64,
    /// One value for each of the series.
    pub values: Vec<Estimate>,
}

/// What the models of an arm read for all its users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmCost {
    /// The arm's name.
    pub arm: String,
    /// Prompts, and all their tokens.
    #[serde(flatten)]
    pub cost: Cost,
}

/// How alike the control tokens of an arm's model are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmCosine {
    /// The arm's name.
    pub arm: String,
    /// The mean over pairs of control tokens of the cosine of their embeddings, as trained.
    pub cosine: f64,
}

/// The arms at other settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The arms of every point, in order.
    pub arms: Vec<SweptArm>,
    /// The points, in the job's order.
    pub points: Vec<SweepPoint>,
}

/// An arm of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweptArm {
    /// Its own name.
    pub name: String,
    /// The name of the job's arm that it is made of.
    pub family: String,
    /// Its weight, where the arms of a family differ in that.
    pub weight: Option<f32>,
}

/// One point of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// Candidates of a user.
    pub k: u64,
    /// How many controls were asked for; none for all of them.
    pub controls: Option<u64>,
    /// Controls an item must meet; none for all of them.
    pub theta: Option<u64>,
    /// Its metrics: of those of [`Report::summary`] the ones that a sweep is about.
    pub summary: Summary,
    /// What each arm's models read; empty where no arm has a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<ArmCost>,
    /// What was learned beside the model as it came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<Learned>,
}

/// An arm with what was learned beside the same arm without it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// The arm with it.
    pub arm: String,
    /// The arm without it.
    pub zero_shot: String,
    /// Metric name → paired difference.
    pub difference: BTreeMap<String, Estimate>,
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Users ranked for, or learned from.
    pub users: u64,
    /// Items in the catalogue.
    pub items: u64,
    /// Interactions behind the sequences.
    pub interactions: u64,
    /// Epochs committed.
    pub epochs: u64,
    /// Rows read from the inputs.
    pub rows_read: u64,
    /// Rows written to parts.
    pub rows_written: u64,
    /// Rows and parts of rows given up.
    pub rows_faulted: u64,
}

/// The faults of one stage with one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultGroup {
    /// Which stage gave the rows up.
    pub stage: StageName,
    /// Why.
    pub reason: String,
    /// How many rows.
    pub count: u64,
    /// The dead-letter objects that hold them.
    pub keys: Vec<String>,
}

/// One line of `[expect]`, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The metric's name.
    pub metric: String,
    /// The arm's name; empty for a run without arms.
    pub arm: String,
    /// The value the job expects.
    pub expected: f64,
    /// How far from it is still right.
    pub tolerance: f64,
    /// The value of this run; none when the run has no such metric or arm.
    pub found: Option<f64>,
    /// Whether the job holds this to be met.
    pub met: bool,
}

/// One pass over the training data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingPoint {
    /// The pass, from 1.
    pub epoch: u32,
    /// Mean loss over the pass, natural log; none when it was not a finite number.
    pub loss: Option<f64>,
    /// NDCG on the validation part, or what else it is validated by; none when this pass was not.
    pub validation_ndcg: Option<f64>,
}

/// A run that this one started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The job's name.
    pub job: String,
    /// The run directory's name.
    pub run: String,
    /// What came of it, in one line.
    pub result: String,
}

/// How long it took: the only part of a report that two equal runs do not share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Wall time of the whole run.
    pub seconds: f64,
    /// Threads or processes that took part.
    pub workers: u32,
    /// The machine in words.
    pub machine: String,
    /// The stages, in pipeline order.
    pub stages: Vec<StageTime>,
    /// Seconds of one thread that reading and retrieving take for a user; none without users.
    #[serde(default)]
    pub retrieval: Option<f64>,
    /// The arms of a rerank job; empty for what was timed by an earlier version.
    #[serde(default)]
    pub arms: Vec<ArmTime>,
}

/// How fast an arm is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmTime {
    /// The arm's name.
    pub arm: String,
    /// Seconds of one thread that its methods take for a user, its models left out.
    pub methods: f64,
    /// Seconds of one thread that its models take for a token; none without a model that was asked.
    pub models: Option<f64>,
    /// The share of its models' tokens that they had read before; none where nothing is kept.
    #[serde(default)]
    pub reused: Option<f64>,
}

/// One stage's time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage, or what was not stage work.
    pub stage: String,
    /// Rows through it.
    pub rows: u64,
    /// Seconds of work, summed over threads.
    pub seconds: f64,
    /// Rows a second of work.
    pub rows_per_second: f64,
    /// This stage's part of all the work, from 0 to 1.
    pub share: f64,
}

impl Report {
    /// What a training is validated by.
    pub fn validated_by(&self) -> &'static str {
        if self.kind == "train-encoder" { "AUC" } else { "NDCG" }
    }

    /// Whether everything the job expects was found.
    pub fn expectations_met(&self) -> bool {
        self.expectations.iter().all(|e| e.met)
    }
}
