//! `kind = "rerank"`: sequences to ranked lists for every arm, and metrics.

use super::Problems;
use super::controls::ControlsSpec;
use super::device::DeviceSpec;
use super::guide::GuideSpec;
use super::node_graph::GoalsSpec;
use super::requests::{AskSpec, InferredSpec};
use super::step::StepSpec;
use super::sweep::SweepSpec;
use super::teacher::BudgetSpec;
use crate::types::{Asked, Relation};
use serde::{Deserialize, Serialize};

/// The job as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RerankSpec {
    /// `run:JOB`, a prepare job: the users, their histories and the catalogue.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub sequences: String,
    /// `run:JOB`, a train-retriever job; not with `[candidates]`.
    #[serde(skip_serializing)]
    pub retriever: String,
    /// Candidate lists from elsewhere, instead of a retriever.
    pub candidates: Option<CandidatesSpec>,
    /// What the lists are judged by. Default `test`.
    pub target: Target,
    /// On what models compute and items are searched: `cpu`; `cuda:N` for an NVIDIA device, on
    /// which the last bits of models differ from the processor's; `cuda:N,M` for several of one
    /// kind, which share the work. Default `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")] // a job without it keeps its run
    pub device: DeviceSpec,
    /// Tokens of a batch on a device, 64 to 1048576: more need more of its memory. Default 16384.
    #[serde(skip_serializing)] // the same lists
    pub device_tokens_max: usize,
    /// The top K.
    pub retrieve: RetrieveSpec,
    /// Hard business rules: `[[rule]]`; an item that fails one is never a candidate.
    #[serde(rename = "rule")]
    pub rules: Vec<RuleSpec>,
    /// What people asked for.
    pub controls: ControlsSpec,
    /// What people asked for in their own words.
    #[serde(skip_serializing_if = "Option::is_none")] // a job without any keeps its run
    pub requests: Option<AskSpec>,
    /// What each user's list as a whole should be like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goals: Option<GoalsSpec>,
    /// Models that guide through graphs of nodes: `[[guide]]`.
    #[serde(rename = "guide", skip_serializing_if = "Vec::is_empty")]
    pub guides: Vec<GuideSpec>,
    /// What may be spent on guides behind servers.
    #[serde(skip_serializing)] // the same lists
    pub budget: BudgetSpec,
    /// Values of attributes that nobody wrote down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inferred: Option<InferredSpec>,
    /// The methods under comparison: `[[arm]]`; the first is the baseline of the differences.
    #[serde(rename = "arm")]
    pub arms: Vec<ArmSpec>,
    /// Which arm is published; the last when left out.
    pub publish: Option<String>,
    /// How the lists are judged.
    pub metrics: MetricsSpec,
    /// The settings at which the arms are judged besides.
    #[serde(skip_serializing_if = "Option::is_none")] // a job without one keeps its run
    pub sweep: Option<SweepSpec>,
    /// In which pieces.
    pub output: RerankOutput,
}

/// `[candidates]`: lists made elsewhere, one row a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CandidatesSpec {
    /// Parquet files, folders or patterns with `*`.
    #[serde(skip_serializing)]
    pub paths: Vec<String>,
    /// Column of user ids.
    pub user: String,
    /// Column of lists of item ids, best first.
    pub items: String,
    /// Column of lists of scores.
    pub scores: Option<String>,
    /// Column of the held-out item, or of lists of them.
    pub target: Option<String>,
}

/// What is held out when the lists are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The test part; history is everything before it.
    #[default]
    Test,
    /// The validation part; history is the training part.
    Validation,
    /// Nothing: history is everything, and there are no accuracy metrics. The nightly setting.
    None,
}

/// `[retrieve]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrieveSpec {
    /// Candidates of a user, 1 to 10000. Default 100.
    pub k: usize,
    /// Whether items of the history are left out. Default true.
    pub exclude_seen: bool,
    /// A Parquet table with an `item` column, and optionally a `user` column: never recommended.
    #[serde(skip_serializing)]
    pub exclude: Option<String>,
}

/// `[[rule]]`: a condition every candidate meets.
pub type RuleSpec = AskedSpec;

/// A control as written in a job file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedSpec {
    /// The attribute's name.
    pub attribute: String,
    /// `is`, `not`, `at-most` or `at-least`. Default `is`.
    #[serde(default = "is")]
    pub relation: Relation,
    /// A label (several separated by `|`) or a number.
    pub value: String,
}

fn is() -> Relation {
    Relation::Is
}

impl From<&AskedSpec> for Asked {
    fn from(spec: &AskedSpec) -> Self {
        Asked {
            attribute: spec.attribute.clone(),
            relation: spec.relation,
            value: spec.value.clone(),
        }
    }
}

/// `[[arm]]`: a chain of steps over the same candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmSpec {
    /// The arm's name.
    pub name: String,
    /// Its steps in order; none is the order of retrieval.
    #[serde(default)]
    pub steps: Vec<StepSpec>,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSpec {
    /// The cut-offs k. Default 1, 5, 10, 20.
    pub k: Vec<usize>,
    /// Controls an item must meet to count for CP and CD; all of them when left out.
    pub theta: Option<u32>,
    /// Bootstrap replicates behind the intervals, 0 to 10000. Default 200.
    pub replicates: u32,
    /// Seed of the bootstrap. Default 1.
    pub seed: u64,
    /// The attribute that diversity is about.
    pub diversity: Option<String>,
    /// The two groups that fairness is about.
    pub fairness: Option<FairnessSpec>,
}

/// `[metrics.fairness]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FairnessSpec {
    /// The attribute that makes the groups.
    pub attribute: String,
    /// Numbers below it are one group, the others the other.
    pub below: f32,
}

/// `[output]` of a rerank job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RerankOutput {
    /// Places of a list that are written, 1 to 10000. Default 20.
    pub depth: usize,
    /// Partitions (or candidate shards' row groups) of an epoch, at least 1. Default 4.
    pub epoch_tasks: usize,
    /// Only the published arm's lists are written. Default false.
    pub published_only: bool,
}

impl Default for RerankSpec {
    fn default() -> Self {
        Self {
            sequences: String::new(),
            retriever: String::new(),
            candidates: None,
            target: Target::default(),
            device: DeviceSpec::Cpu,
            device_tokens_max: 16_384,
            retrieve: RetrieveSpec::default(),
            rules: Vec::new(),
            controls: ControlsSpec::default(),
            requests: None,
            goals: None,
            guides: Vec::new(),
            budget: BudgetSpec::default(),
            inferred: None,
            arms: Vec::new(),
            publish: None,
            metrics: MetricsSpec::default(),
            sweep: None,
            output: RerankOutput::default(),
        }
    }
}

impl Default for RetrieveSpec {
    fn default() -> Self {
        Self { k: 100, exclude_seen: true, exclude: None }
    }
}

impl Default for MetricsSpec {
    fn default() -> Self {
        Self {
            k: vec![1, 5, 10, 20],
            theta: None,
            replicates: 200,
            seed: 1,
            diversity: None,
            fairness: None,
        }
    }
}

impl Default for RerankOutput {
    fn default() -> Self {
        Self { depth: 20, epoch_tasks: 4, published_only: false }
    }
}

impl RerankSpec {
    /// What the arms' models are trained by, `run:JOB` each, once, in the order of the arms.
    pub fn rerankers(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for step in self.arms.iter().flat_map(|arm| &arm.steps) {
            if let StepSpec::TokenControl { reranker, .. } = step
                && !found.contains(&reranker.as_str())
            {
                found.push(reranker);
            }
        }
        found
    }

    /// What encodes the arms' requests and items, `run:JOB` each, once, in the order of the arms.
    pub fn embeddings(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for step in self.arms.iter().flat_map(|arm| &arm.steps) {
            if let StepSpec::LanguageControl { embeddings, .. } = step
                && !found.contains(&embeddings.as_str())
            {
                found.push(embeddings);
            }
        }
        found
    }

    /// The published arm's position.
    pub fn published(&self) -> usize {
        let named = self.publish.as_ref();
        let found = named.and_then(|name| self.arms.iter().position(|arm| arm.name == *name));
        found.unwrap_or(self.arms.len().saturating_sub(1))
    }

    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("sequences", &self.sequences);
        match &self.candidates {
            None => problems.reference("retriever", &self.retriever),
            Some(candidates) => self.check_candidates(candidates, problems),
        }
        problems.range("device_tokens_max", self.device_tokens_max, 64, 1 << 20);
        problems.range("retrieve.k", self.retrieve.k, 1, 10_000);
        self.check_controls(problems);
        self.check_arms(problems);
        self.check_requests(problems);
        self.check_goals(problems);
        self.check_guides(problems);
        if let Some(inferred) = &self.inferred {
            inferred.check(problems);
        }
        self.check_metrics(problems);
        self.check_sweep(problems);
        problems.range("output.depth", self.output.depth, 1, 10_000);
        problems.range("output.epoch_tasks", self.output.epoch_tasks, 1, 1_000_000);
    }

    fn check_candidates(&self, candidates: &CandidatesSpec, problems: &mut Problems) {
        if !self.retriever.is_empty() {
            problems.add("retriever", "excludes `[candidates]`: the lists are given or retrieved");
        }
        if candidates.paths.is_empty() {
            problems.add("candidates.paths", "is missing: where the candidate lists lie");
        }
        problems.required("candidates.user", &candidates.user, "the column of user ids");
        problems.required("candidates.items", &candidates.items, "the column of item lists");
    }

    fn check_arms(&self, problems: &mut Problems) {
        problems.range("arm (how many)", self.arms.len(), 1, 64);
        problems.unique("arm", self.arms.iter().map(|arm| arm.name.as_str()));
        if let Some(publish) = &self.publish
            && !self.arms.iter().any(|arm| arm.name == *publish)
        {
            problems.add("publish", format!("no arm is called {publish:?}"));
        }
        for (a, arm) in self.arms.iter().enumerate() {
            problems.required(&format!("arm[{a}].name"), &arm.name, "the arm's name");
            for (s, step) in arm.steps.iter().enumerate() {
                step.check(&format!("arm[{a}].steps[{s}]"), problems);
            }
        }
    }

    fn check_metrics(&self, problems: &mut Problems) {
        let metrics = &self.metrics;
        if metrics.k.is_empty() || !metrics.k.windows(2).all(|pair| pair[0] < pair[1]) {
            problems
                .add("metrics.k", format!("expected ascending cut-offs, found {:?}", metrics.k));
        }
        for (at, k) in metrics.k.iter().enumerate() {
            problems.range(&format!("metrics.k[{at}]"), *k, 1, 1000);
        }
        problems.range("metrics.replicates", metrics.replicates, 0, 10_000);
    }
}
