//! What should be done? The job file as its author wrote it, checked: every mistake at once, each
//! with its path in the file.

mod check;
mod controls;
mod device;
mod embed;
mod guide;
mod label;
mod node_graph;
mod precision;
mod prepare;
mod reachability;
mod read;
mod requests;
mod rerank;
mod step;
mod sweep;
mod teacher;
mod texts;
mod train_encoder;
mod train_reranker;
mod train_retriever;

pub use check::Problems;
pub use controls::{ControlFrom, ControlsSpec};
pub use device::DeviceSpec;
pub use embed::{EmbedOutput, EmbedSpec};
pub use guide::{DecoderGuideSpec, DecoderRanking, GuideSpec};
pub use label::{
    InferSpec, JudgedSpec, LabelOutput, LabelSpec, MeaningSpec, RequestsFrom, RequestsSpec,
};
pub use node_graph::{GoalsSpec, NodeGraphSpec, NodeMetric, NodeSpec, RULES};
pub use precision::PrecisionSpec;
pub use prepare::{
    AttributeSpec, Duplicates, FilterSpec, GenerateSpec, InteractionsSpec, ItemsSpec,
    PrepareOutput, PrepareSpec, Split, UsersSpec,
};
pub use reachability::ReachabilitySpec;
pub use read::load;
pub use requests::{AskFrom, AskSpec, InferredSpec};
pub use rerank::{
    ArmSpec, AskedSpec, CandidatesSpec, FairnessSpec, MetricsSpec, RerankOutput, RerankSpec,
    RetrieveSpec, RuleSpec, Target,
};
pub use step::{FilterMode, FusionSpec, Over, QuotaSpec, Similarity, StepSpec, THETA_MAX};
pub use sweep::{Point, SweepSpec, SweptArm};
pub use teacher::{BudgetSpec, DecoderTeacherSpec, HttpTeacherSpec, ServerFormat, TeacherSpec};
pub use texts::TextsSpec;
pub use train_encoder::{
    EncoderBaseSpec, EncoderLoss, EncoderLossSpec, EncoderTrainSpec, EncoderTrained,
    TrainEncoderSpec,
};
pub use train_reranker::{
    BaseSpec, ExampleControls, ExampleWording, ExamplesSpec, LoraSpec, PromptSpec,
    RerankerTrainSpec, TrainRerankerSpec,
};
pub use train_retriever::{LossSpec, ModelSpec, OptimizerSpec, TrainRetrieverSpec, TrainSpec};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checked job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The file it was read from.
    pub file: PathBuf,
    /// The job's name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What is to be done.
    pub kind: Kind,
    /// Where and how it runs; nothing in here changes the output.
    pub run: RunSpec,
    /// What its metrics are expected to be: `[expect."ndcg@10"]`.
    pub expect: BTreeMap<String, Expect>,
}

/// A job that another one reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The field that names it.
    pub field: &'static str,
    /// The kind that it must be of.
    pub kind: &'static str,
    /// Its file, which `run:PATH` names.
    pub file: PathBuf,
}

/// A field, the kind of the job that it names, and what it says.
type Reference<'a> = (&'static str, &'static str, &'a str);

fn sequences(named: &str) -> Reference<'_> {
    ("sequences", "prepare", named)
}

fn retriever(named: &str) -> Reference<'_> {
    ("retriever", "train-retriever", named)
}

/// The kinds of jobs.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // one or two in a process
pub enum Kind {
    /// Raw interactions to sequences, item dictionary, attribute bins.
    Prepare(PrepareSpec),
    /// Sequences to a SASRec checkpoint.
    TrainRetriever(TrainRetrieverSpec),
    /// Sequences and a retriever to a decoder that re-ranks.
    TrainReranker(TrainRerankerSpec),
    /// Sequences to what people might ask for, and how well items answer it.
    Label(LabelSpec),
    /// A teacher's judgements to two text encoders.
    TrainEncoder(TrainEncoderSpec),
    /// The catalogue's texts to vectors.
    Embed(EmbedSpec),
    /// Pairs of people to how far controls lead.
    Reachability(ReachabilitySpec),
    /// Sequences to ranked lists and metrics.
    Rerank(RerankSpec),
}

/// `[run]`: where and how the job runs. Nothing in here changes a byte of the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSpec {
    /// The folder of run directories. Default `runs`.
    pub root: PathBuf,
    /// Timely workers of this process; 0 is one for each core. Default 0. `--workers` wins.
    pub workers: usize,
    /// How many epochs may be in flight, 1 to 64. Default 2.
    pub window_epochs: u64,
    /// Rows that may fault before the job stops. Default 10000.
    pub faults_max: u64,
    /// Seconds without any progress after which a job of several processes gives up. Default 600.
    pub stall_seconds_max: u64,
}

/// `[expect."METRIC"]`: what a metric of an arm (or a training's result) should come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Of which arm; the published one when left out.
    #[serde(default)]
    pub arm: Option<String>,
    /// The expected value.
    pub value: f64,
    /// How far off it may be.
    pub tolerance: f64,
}

impl RunSpec {
    /// Workers of a process, at most.
    pub const WORKERS_MAX: u16 = 1024;
    /// Seconds of any wait, at most.
    pub const SECONDS_MAX: u64 = 1_000_000;
}

impl Default for RunSpec {
    fn default() -> Self {
        Self {
            root: "runs".into(),
            workers: 0,
            window_epochs: 2,
            faults_max: 10_000,
            stall_seconds_max: 600,
        }
    }
}

impl Kind {
    /// The kind as the job file writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Prepare(_) => "prepare",
            Kind::TrainRetriever(_) => "train-retriever",
            Kind::TrainReranker(_) => "train-reranker",
            Kind::Label(_) => "label",
            Kind::TrainEncoder(_) => "train-encoder",
            Kind::Embed(_) => "embed",
            Kind::Reachability(_) => "reachability",
            Kind::Rerank(_) => "rerank",
        }
    }
}

impl Job {
    /// The jobs this one reads from, in the order in which it names them.
    pub fn upstream(&self) -> Vec<Needed> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let needed = |(field, kind, named): Reference| {
            let path = named.strip_prefix("run:")?;
            Some(Needed { field, kind, file: folder.join(format!("{path}.toml")) })
        };
        self.references().into_iter().filter_map(needed).collect()
    }

    /// Each field that names a job, the kind that the job must be of, and what the field says.
    fn references(&self) -> Vec<Reference<'_>> {
        match &self.kind {
            Kind::Prepare(_) => vec![],
            Kind::TrainRetriever(spec) => vec![sequences(&spec.sequences)],
            Kind::TrainReranker(spec) => {
                vec![sequences(&spec.sequences), retriever(&spec.retriever)]
            }
            Kind::Label(spec) => vec![sequences(&spec.sequences)],
            Kind::TrainEncoder(spec) => vec![("labels", "label", &spec.labels)],
            Kind::Embed(spec) => {
                let encoder = [("encoder", "train-encoder", spec.encoder.as_str())];
                let items = spec.sequences.as_deref().map(sequences);
                encoder.into_iter().chain(items).collect()
            }
            Kind::Reachability(spec) => vec![
                sequences(&spec.sequences),
                retriever(&spec.retriever),
                ("embeddings", "embed", &spec.embeddings),
            ],
            Kind::Rerank(spec) => {
                let data = [sequences(&spec.sequences), retriever(&spec.retriever)];
                let rerankers = spec.rerankers().into_iter();
                let rerankers = rerankers.map(|named| ("arm.steps", "train-reranker", named));
                let encoders = spec.embeddings().into_iter();
                let encoders = encoders.map(|named| ("arm.steps", "embed", named));
                let inferred = spec.inferred.iter();
                let inferred = inferred.map(|i| ("inferred.labels", "label", i.labels.as_str()));
                data.into_iter().chain(rerankers).chain(encoders).chain(inferred).collect()
            }
        }
    }

    /// The devices beside the processor that the job names, and the fields that name them.
    pub fn devices(&self) -> Vec<(&'static str, &DeviceSpec)> {
        let mut named = match &self.kind {
            Kind::Prepare(_) | Kind::Reachability(_) => vec![],
            Kind::TrainRetriever(spec) => vec![("device", &spec.device)],
            Kind::TrainReranker(spec) => vec![("device", &spec.device)],
            Kind::TrainEncoder(spec) => vec![("device", &spec.device)],
            Kind::Embed(spec) => vec![("device", &spec.device)],
            Kind::Label(spec) => match &spec.teacher {
                TeacherSpec::Decoder(decoder) => vec![("teacher.device", &decoder.device)],
                _ => vec![],
            },
            Kind::Rerank(spec) => {
                let guides = spec.guides.iter().filter_map(|guide| guide.decoder.as_ref());
                let guides = guides.map(|decoder| ("guide.decoder.device", &decoder.device));
                std::iter::once(("device", &spec.device)).chain(guides).collect()
            }
        };
        named.retain(|(_, device)| !device.is_cpu());
        named
    }

    /// The part of the job that decides its output, as JSON: what the run's name is a hash of.
    pub fn essence(&self) -> serde_json::Value {
        let spec = match &self.kind {
            Kind::Prepare(spec) => serde_json::to_value(spec),
            Kind::TrainRetriever(spec) => serde_json::to_value(spec),
            Kind::TrainReranker(spec) => serde_json::to_value(spec),
            Kind::Label(spec) => serde_json::to_value(spec),
            Kind::TrainEncoder(spec) => serde_json::to_value(spec),
            Kind::Embed(spec) => serde_json::to_value(spec),
            Kind::Reachability(spec) => serde_json::to_value(spec),
            Kind::Rerank(spec) => serde_json::to_value(spec),
        };
        spec.expect("a spec holds only strings, numbers, lists and maps with string keys")
    }
}
