//! Brings a `train-retriever` job's run up to date.

use super::devices;
use super::prepare::Prepared;
use super::runs::{manifest, unfinished};
use crate::device::Turns;
use crate::error::{Error, Result};
use crate::model::decoder::Memory;
use crate::model::retriever::{Resident, Retriever};
use crate::spec::{DeviceSpec, Job, LossSpec, TrainRetrieverSpec};
use crate::stage::retrieve::Encode;
use crate::store::{Commit, RunDir, Store, part};
use crate::train::{
    Loss, Observer, On, Progress, TrainSettings, evaluation_bytes, fit_on, sequences_at_once,
};
use crate::types::Sequence;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const RETRIEVER_KEY: &str = "parts/epoch=000000/retriever.safetensors";
/// The state to go on from. It follows from the job, so it may be lost: then training starts again.
const CHECKPOINT_KEY: &str = "checkpoint.safetensors";

/// A job with its run known.
pub struct Opened {
    /// What is learned from.
    pub prepared: Prepared,
    /// The run.
    pub run: RunDir,
    /// How.
    pub settings: TrainSettings,
}

/// A finished training run, as later jobs read it.
pub struct Trained {
    /// Its directory.
    pub run: RunDir,
    /// What it came to.
    pub facts: Facts,
    retriever: Arc<Retriever>,
}

/// What a training came to: the payload of its commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Passes over the users.
    pub epochs: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// The mean loss of each epoch's positions, in nats.
    pub losses: Vec<f64>,
    /// Epoch and validation NDCG@10, full ranking, seen items left out.
    pub curve: Vec<(u64, f64)>,
}

/// Opens what the job reads.
pub fn open(
    job: &Job,
    spec: &TrainRetrieverSpec,
    store: &Store,
    prepared: Prepared,
) -> Result<Opened> {
    let upstream = [("sequences", &prepared.run)];
    let run = RunDir::at(store, manifest(job, Vec::new(), &upstream));
    Ok(Opened { run, settings: settings(spec), prepared })
}

fn settings(spec: &TrainRetrieverSpec) -> TrainSettings {
    TrainSettings {
        hidden: spec.model.hidden,
        blocks: spec.model.blocks,
        heads: spec.model.heads,
        length_max: spec.model.length_max,
        dropout: spec.model.dropout,
        loss: match spec.loss {
            LossSpec::Softmax => Loss::CrossEntropy,
            LossSpec::SampledSoftmax { negatives } => Loss::SampledSoftmax { negatives },
            LossSpec::Gbce { negatives, t } => Loss::Gbce { negatives, calibration: t },
            LossSpec::Bce => Loss::Bce,
        },
        batch: spec.train.batch,
        rate: spec.optimizer.learning_rate,
        decay: spec.optimizer.weight_decay,
        warmup_steps: spec.optimizer.warmup_steps,
        gradient_norm_max: spec.optimizer.clip_norm,
        sliding: spec.train.sliding,
        epochs_max: spec.train.epochs_max,
        validate_epochs: spec.train.validate_every,
        patience: spec.train.patience,
        checkpoint_steps: spec.train.checkpoint_steps,
        seed: spec.train.seed,
        threads: 1,
    }
}

/// What a device takes of its memory for learning, and for what batches; none on the processor.
///
/// Errors: [`Error::Device`] for a retriever that the device does not take.
pub fn memory(spec: &TrainRetrieverSpec, opened: &Opened) -> Result<Option<(Memory, String)>> {
    if spec.device.is_cpu() {
        return Ok(None);
    }
    let settings = &opened.settings;
    let sequences = sequences_at_once(settings);
    let tokens = sequences * settings.length_max;
    let candidates = settings.loss.negatives().map(|negatives| negatives + 1);
    let config = settings.retriever(opened.prepared.catalogue.len());
    let mut memory = config.learning_memory(candidates, tokens)?;
    memory.batch_bytes += evaluation_bytes(&config);
    Ok(Some((memory, format!("{sequences} sequences and their gradients"))))
}

/// Trains, from the latest checkpoint if there is one; `watch` hears of every step.
pub fn run(
    spec: &TrainRetrieverSpec,
    opened: &Opened,
    threads: usize,
    watch: &mut dyn FnMut(&Progress),
) -> Result<()> {
    let device = devices::open(&spec.device, "device")?.pop();
    opened.run.create()?;
    let sequences = sequences(&opened.prepared)?;
    let settings = TrainSettings { threads, ..opened.settings.clone() };
    let mut keeper = Keeper { run: &opened.run, watch };
    let items = opened.prepared.catalogue.len();
    let device = device.map(|driver| On::device(driver, &settings));
    let trained = fit_on(device, &settings, items, &sequences, &mut keeper)?;
    let rows = items as u64;
    let part = opened.run.put_part(RETRIEVER_KEY.into(), rows, trained.retriever.into())?;
    let (epochs, steps) = (trained.epochs, trained.steps);
    let facts = Facts { epochs, steps, losses: trained.losses, curve: trained.curve };
    let payload = serde_json::to_value(&facts).map_err(|e| Error::Incomplete(e.to_string()))?;
    let read = sequences.len() as u64;
    let commit = Commit { rows_read: read, parts: vec![part], payload, ..Commit::default() };
    opened.run.put_commit(&commit)
}

impl Opened {
    /// Whether the retriever is there.
    pub fn done(&self) -> Result<bool> {
        Ok(!self.run.epochs()?.is_empty())
    }
}

/// All sequences, in the order of partitions and users.
fn sequences(prepared: &Prepared) -> Result<Vec<Sequence>> {
    let mut all = Vec::new();
    for part in prepared.sequences.iter() {
        let bytes = prepared.run.get_part(part)?;
        all.append(&mut part::sequences::decode(&part.key, bytes)?);
    }
    Ok(all)
}

/// Keeps checkpoints in the run directory.
pub struct Keeper<'a> {
    /// The run.
    pub run: &'a RunDir,
    /// Hears of every step.
    pub watch: &'a mut dyn FnMut(&Progress),
}

impl Observer for Keeper<'_> {
    fn latest(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(self.run.get(CHECKPOINT_KEY)?.map(|bytes| bytes.to_vec()))
    }

    fn place(&self) -> String {
        self.run.path(CHECKPOINT_KEY).display().to_string()
    }

    fn save(&mut self, _step: u64, checkpoint: &[u8]) -> Result<()> {
        self.run.put_derived(CHECKPOINT_KEY, checkpoint.to_vec())
    }

    fn progress(&mut self, progress: &Progress) {
        (self.watch)(progress);
    }
}

/// What a finished run holds, for the jobs that read it.
pub fn finished(run: RunDir) -> Result<Trained> {
    let commits = run.commits()?;
    let Some((_, commit)) = commits.first_key_value() else { return Err(unfinished(&run)) };
    let facts = serde_json::from_value(commit.payload.clone()).map_err(|_| unfinished(&run))?;
    let [part] = commit.parts.as_slice() else { return Err(unfinished(&run)) };
    let path = run.path(&part.key).display().to_string();
    let retriever = Arc::new(Retriever::from_bytes(&path, &run.get_part(part)?)?);
    Ok(Trained { run, facts, retriever })
}

impl Trained {
    /// The network, up to the user's vector.
    pub fn encode(&self) -> Encode {
        let retriever = Arc::clone(&self.retriever);
        Arc::new(move |histories| retriever.encode(histories))
    }

    /// The same on devices; by the processor, if there are none or they do not take such a network.
    ///
    /// Errors: a device that is not there, has too little memory or fails.
    pub fn encode_on(&self, device: &DeviceSpec, tokens_max: usize) -> Result<Encode> {
        let drivers = devices::open(device, "device")?;
        if drivers.is_empty() || Resident::refusal(self.retriever.config()).is_some() {
            return Ok(self.encode());
        }
        let on = |driver| Resident::of(driver, &self.retriever, tokens_max);
        let copies = Turns::new(drivers.into_iter().map(on).collect::<Result<Vec<Resident>>>()?);
        Ok(Arc::new(move |histories| copies.ask(|one| one.encode(histories))))
    }

    /// What [`Trained::encode_on`] takes of each device, with room for batches of so many tokens.
    pub fn memory(&self, tokens_max: usize) -> Memory {
        self.retriever.config().device_memory(tokens_max).unwrap_or_default()
    }

    /// The items' vectors, (items, width).
    pub fn item_embeddings(&self) -> &[f32] {
        self.retriever.item_embeddings()
    }

    /// The length of a vector.
    pub fn width(&self) -> usize {
        self.retriever.config().hidden
    }
}
