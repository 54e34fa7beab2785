//! Brings a `train-reranker` job's run up to date.

mod base;
mod gather;
mod learned;
mod weight;

pub use base::memory;
pub use learned::{Loaded, Reranker};

use super::devices;
use super::prepare::Prepared;
use super::runs::{hash_folder, manifest, model_key, payload};
use super::train_retriever::{Keeper, Trained};
use crate::device::cpu::top_k::{BitSet, ItemIndex};
use crate::error::{Error, Result};
use crate::model::adapter::AdapterConfig;
use crate::model::decoder::{
    Decoder, Learner, Projection, Prompt, Resident, SharedDriver, Trained as Learned,
};
use crate::spec::{Job, TrainRerankerSpec};
use crate::stage::examples::{Example, ExampleSettings, Examples};
use crate::stage::retrieve::{Retrieve, Retriever, Search};
use crate::store::{Commit, PartRef, RunDir, Store};
use crate::train::Progress;
use crate::train::contrast::mean_cosine;
use crate::train::reranker::{self, Contrast, Measured, RerankerSettings, fit_on};
use base::Base;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use weight::{Tried, measure};

/// Tokens that a device computes together when it measures.
const TOKENS: usize = 4096;

/// A job with its run known.
pub struct Opened {
    /// What is learned from.
    pub prepared: Prepared,
    /// Whose candidates are shown.
    pub trained: Trained,
    /// The run.
    pub run: RunDir,
    /// The base model's folder; none for a new decoder.
    pub folder: Option<PathBuf>,
}

/// What a training came to: the payload of its commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Examples that were learned from.
    pub examples: u64,
    /// Optimiser steps of a pass, and in all.
    pub steps: [u64; 2],
    /// The mean loss of each pass, in nats a pair of candidates.
    pub losses: Vec<f64>,
    /// Step and NDCG@10 of the model's order over validation examples; gains are the relevance that
    /// is learned.
    pub curve: Vec<(u64, f64)>,
    /// What the validation examples say of the retriever's order, of the model's, and of both mixed
    /// by the weight that was fitted.
    pub tried: [Tried; 3],
    /// The mean over pairs of control tokens of the cosine of their embeddings, as trained; none
    /// for a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_cosine: Option<f64>,
}

/// Opens what the job reads.
pub fn open(
    job: &Job,
    spec: &TrainRerankerSpec,
    store: &Store,
    prepared: Prepared,
    trained: Trained,
) -> Result<Opened> {
    let folder = spec.base.path.as_ref().map(PathBuf::from);
    let inputs = folder.as_ref().map(|folder| hash_folder(store, folder)).transpose()?;
    let upstream = [("sequences", &prepared.run), ("retriever", &trained.run)];
    let run = RunDir::at(store, manifest(job, inputs.unwrap_or_default(), &upstream));
    Ok(Opened { prepared, trained, run, folder })
}

/// Trains, from the latest checkpoint if there is one; `watch` hears of every step.
pub fn run(
    spec: &TrainRerankerSpec,
    opened: &Opened,
    threads: usize,
    watch: &mut dyn FnMut(&Progress),
) -> Result<()> {
    // First of all: a device that is not there is known at once.
    let device = devices::open(&spec.device, "device")?.into_iter().next();
    opened.run.create()?;
    let Base { decoder, prompter, tokenizer } = Base::open(spec, opened)?;
    let catalogue = Arc::clone(&opened.prepared.catalogue);
    let examples = Examples { catalogue, prompter, settings: example_settings(spec) };
    let mut retrieve = Retrieve(Arc::new(retriever(spec, &opened.trained, &opened.prepared)?));
    let gathered =
        gather::gather(&opened.prepared, &spec.examples, &mut retrieve, &examples, threads)?;
    if let (true, Some(fault)) = (gathered.train.is_empty(), gathered.faults.first()) {
        return Err(Error::Input(format!(
            "training: no example could be made of {} moments, the first because: {}",
            gathered.faults.len(),
            fault.kind
        )));
    }
    let labels: Vec<u32> = examples.prompter.labels().collect();
    let control_tokens = examples.prompter.control_tokens();
    let settings = settings(spec, control_tokens, threads);
    let lesson = |e: &Example| reranker::Example {
        tokens: e.tokens.clone(),
        relevance: e.relevance.clone(),
    };
    let lessons: Vec<Vec<reranker::Example>> =
        gathered.train.iter().map(|moment| moment.iter().map(lesson).collect()).collect();
    let validation = &gathered.validation;
    let adapter = spec.lora.is_some().then_some(0);
    let mut examine = |learned: Measured<'_>| {
        let logits = scored(learned, adapter, &labels, validation, threads)?;
        Ok((!validation.is_empty()).then(|| measure(validation, &logits, 1.0).relevance))
    };
    let mut keeper = Keeper { run: &opened.run, watch };
    let there = device.clone();
    let fitted = fit_on(there, &settings, decoder, &labels, &lessons, &mut examine, &mut keeper)?;
    let decoder = fitted.learner.decoder();
    let resident = device.map(|device| resident(device, decoder, validation)).transpose()?;
    let learned = resident.as_ref().map_or(Measured::Here(decoder), Measured::There);
    let logits = scored(learned, adapter, &labels, validation, threads)?;
    drop(resident);
    let weighed = |weight| measure(validation, &logits, weight);
    let fitted_weight = weight::fit(validation, &logits, spec.examples.cost_max);
    let batches = lessons.len().div_ceil(spec.train.batch) as u64;
    let facts = Facts {
        examples: lessons.iter().map(Vec::len).sum::<usize>() as u64,
        steps: [batches, fitted.steps],
        losses: fitted.losses,
        curve: fitted.curve,
        tried: [weighed(0.0), weighed(1.0), fitted_weight],
        control_cosine: cosine(&fitted.learner, control_tokens),
    };
    put(opened, &fitted.learner, tokenizer, &facts, gathered.faults)
}

/// Writes the model as others' programs read it, and records the run.
fn put(
    opened: &Opened,
    learner: &Learner,
    tokenizer: Option<Vec<u8>>,
    facts: &Facts,
    faults: Vec<crate::types::Fault>,
) -> Result<()> {
    let run = &opened.run;
    let files = match learner.adapter() {
        Some(adapter) => adapter.to_files()?,
        None => learner.decoder().to_files()?,
    };
    let mut parts: Vec<PartRef> = Vec::new();
    let named = files.into_iter().chain(tokenizer.map(|bytes| ("tokenizer.json", bytes)));
    for (name, bytes) in named {
        parts.push(run.put_part(model_key(name), 1, bytes.into())?);
    }
    parts.sort_by(|a, b| a.key.cmp(&b.key));
    let payload = serde_json::to_value(facts).map_err(|e| Error::Incomplete(e.to_string()))?;
    let rows_read = facts.examples + faults.len() as u64;
    let commit = Commit { rows_read, parts, payload, ..Commit::default() };
    let shards: Vec<String> =
        opened.prepared.sequences.iter().map(|part| part.key.clone()).collect();
    crate::flow::commit::put_with_faults(run, commit, faults, &shards)
}

/// What was learned on a device, to be measured there.
fn resident(device: SharedDriver, decoder: &Decoder, examples: &[Example]) -> Result<Resident> {
    let longest = examples.iter().map(|example| example.tokens.len()).max();
    Resident::of(device, decoder, TOKENS.max(longest.unwrap_or(0)))
}

/// The logits of each example's labels, as many as it has candidates.
fn scored(
    learned: Measured<'_>,
    adapter: Option<u32>,
    labels: &[u32],
    examples: &[Example],
    threads: usize,
) -> Result<Vec<Vec<f32>>> {
    let prompt = |example: &Example| Prompt { tokens: example.tokens.clone(), adapter };
    let prompts: Vec<Prompt> = examples.iter().map(prompt).collect();
    let all = learned.logits(&prompts, labels, threads)?;
    let rows = examples.iter().zip(all.chunks(labels.len().max(1)));
    Ok(rows.map(|(example, row)| row[..example.relevance.len()].to_vec()).collect())
}

fn example_settings(spec: &TrainRerankerSpec) -> ExampleSettings {
    ExampleSettings {
        windows: spec.examples.windows,
        schemes: spec.examples.controls.clone(),
        wordings: spec.examples.wordings.clone(),
        questions: spec.examples.questions,
        controls_max: spec.examples.controls_max,
        control_scores: spec.examples.control_scores,
        seed: spec.examples.seed,
    }
}

/// What of the decoder is trained: an adapter and the control tokens, or everything.
fn learned(spec: &TrainRerankerSpec, control_tokens: &[u32]) -> Learned {
    match &spec.lora {
        None => Learned::Full,
        Some(lora) => Learned::Adapter(AdapterConfig {
            rank: lora.rank,
            alpha: lora.alpha,
            rslora: false,
            targets: Projection::ALL.to_vec(),
            base: spec.base.name(),
            tokens: control_tokens.to_vec(),
        }),
    }
}

/// How alike the control tokens are.
fn cosine(learner: &Learner, control_tokens: &[u32]) -> Option<f64> {
    let rows: Vec<_> = control_tokens.iter().filter_map(|token| learner.place(*token)).collect();
    mean_cosine(&learner.parameters(), &rows)
}

fn settings(spec: &TrainRerankerSpec, control_tokens: &[u32], threads: usize) -> RerankerSettings {
    let weight = spec.train.contrast;
    RerankerSettings {
        trained: learned(spec, control_tokens),
        batch: spec.train.batch,
        rate: spec.optimizer.learning_rate,
        decay: spec.optimizer.weight_decay,
        warmup_steps: spec.optimizer.warmup_steps,
        gradient_norm_max: spec.optimizer.clip_norm,
        epochs_max: spec.train.epochs_max,
        validate_steps: 0,
        patience: spec.train.patience,
        checkpoint_steps: spec.train.checkpoint_steps,
        kept_bytes_max: spec.train.kept_mib_max << 20,
        seed: spec.train.seed,
        threads,
        contrast: (weight > 0.0).then(|| Contrast { weight, tokens: control_tokens.to_vec() }),
    }
}

/// The candidates of examples: what the retriever gives, seen items left out.
fn retriever(
    spec: &TrainRerankerSpec,
    trained: &Trained,
    prepared: &Prepared,
) -> Result<Retriever> {
    Ok(Retriever {
        encode: trained.encode(),
        search: Search::Cpu(
            ItemIndex::new(trained.item_embeddings(), trained.width())?,
            BitSet::new(prepared.catalogue.len()),
        ),
        excluded: HashMap::new(),
        exclude_seen: spec.examples.exclude_seen,
        k: spec.prompt.candidates,
    })
}

impl Facts {
    /// The model's share of the score that was fitted.
    pub fn weight(&self) -> f32 {
        let [.., fitted] = self.tried;
        fitted.weight
    }
}

impl Opened {
    /// Whether the re-ranker is there.
    pub fn done(&self) -> Result<bool> {
        Ok(!self.run.epochs()?.is_empty())
    }
}

/// What a finished run came to.
pub fn facts(run: &RunDir) -> Result<Facts> {
    payload(run)
}
