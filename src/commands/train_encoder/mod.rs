//! Brings a `train-encoder` job's run up to date.

mod lessons;
mod quality;

pub use lessons::Held;
pub use quality::Quality;

use super::devices;
use super::embed::DEVICE_TOKENS_MAX;
use super::label::Labelled;
use super::runs::{hash_folder, manifest, model_file, model_key, payload};
use super::train_retriever::Keeper;
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::model::decoder::Memory;
use crate::model::encoder::{BertConfig, Encoder, Trained, words};
use crate::model::tokenizer::Tokenizer;
use crate::spec::{EncoderLoss, EncoderTrained, Job, TrainEncoderSpec};
use crate::store::{Commit, PartRef, RunDir, Store};
use crate::train::Progress;
use crate::train::encoder::{self, EncoderSettings, Lesson, fit_on};
use crate::types::ItemId;
use bytes::Bytes;
use quality::{examine, qualities};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A job with its run known.
pub struct Opened {
    /// What is learned from.
    pub labelled: Labelled,
    /// The run.
    pub run: RunDir,
    folder: Option<PathBuf>,
}

/// A finished run, as later jobs read it.
pub struct TrainedEncoder {
    /// Its directory.
    pub run: RunDir,
    /// What it came to.
    pub facts: Facts,
    /// What it learned from: users and items are put into words as they were there.
    pub labelled: Labelled,
}

/// What a training came to: the payload of its commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Requests that were learned from.
    pub requests: u64,
    /// Their judgements.
    pub pairs: u64,
    /// Optimiser steps of a pass, and in all.
    pub steps: [u64; 2],
    /// The mean loss of each pass, in nats a judgement.
    pub losses: Vec<f64>,
    /// Step and mean AUC over validation requests.
    pub curve: Vec<(u64, f64)>,
    /// What it learned, on what it did not learn from.
    pub quality: Vec<Quality>,
}

/// Opens what the job reads.
pub fn open(
    job: &Job,
    spec: &TrainEncoderSpec,
    store: &Store,
    labelled: Labelled,
) -> Result<Opened> {
    let folder = spec.base.path.as_ref().map(PathBuf::from);
    let inputs = folder.as_ref().map(|folder| hash_folder(store, folder)).transpose()?;
    let upstream = [("labels", &labelled.run)];
    let run = RunDir::at(store, manifest(job, inputs.unwrap_or_default(), &upstream));
    Ok(Opened { labelled, run, folder })
}

/// Trains, from the latest checkpoint if there is one; `watch` hears of every step.
pub fn run(
    spec: &TrainEncoderSpec,
    opened: &Opened,
    threads: usize,
    watch: &mut dyn FnMut(&Progress),
) -> Result<()> {
    // First of all: a device that is not there, or does not take the encoder, is known at once.
    let device = devices::open(&spec.device, "device")?.into_iter().next();
    memory(spec, opened)?;
    opened.run.create()?;
    let texts = opened.item_texts()?;
    let all = lessons::judged(opened.labelled.judgements()?);
    let (lessons, kept) = lessons::split(spec, all);
    if lessons.is_empty() {
        return Err(Error::Input(format!(
            "{}: no judgement is left to learn from: label more requests, or keep fewer of them",
            opened.labelled.run.name()
        )));
    }
    let begin = || base(spec, opened, &lessons, &texts);
    let settings = settings(spec, threads);
    let mut keeper = Keeper { run: &opened.run, watch };
    let mut examine = |encoder: &Encoder| examine(encoder, &kept, &texts, threads);
    let (there, taught) = (device.clone(), (&lessons[..], &texts[..]));
    let fitted = fit_on(there, &settings, begin()?, taught, &mut examine, &mut keeper)?;
    let placed = |encoder: Encoder| match encoder.is_on_device() {
        true => Ok(encoder),
        false => encoder.on(device.as_slice(), DEVICE_TOKENS_MAX),
    };
    let measured = [placed(fitted.encoder.clone())?, placed(begin()?)?];
    let facts = Facts {
        requests: lessons.len() as u64,
        pairs: lessons.iter().map(|lesson| lesson.items.len() as u64).sum(),
        steps: [lessons.len().div_ceil(spec.train.batch) as u64, fitted.steps],
        losses: fitted.losses,
        curve: fitted.curve,
        quality: qualities(measured.each_ref(), &kept, &texts, threads)?,
    };
    put(opened, &fitted.encoder, &facts)
}

/// What learning takes on the job's device, if it has one, and the batches that it is for.
///
/// Errors: a folder that cannot be read; an encoder that a device does not take.
pub fn memory(spec: &TrainEncoderSpec, opened: &Opened) -> Result<Option<(Memory, String)>> {
    if spec.device.is_cpu() {
        return Ok(None);
    }
    let trained = settings(spec, 1).trained;
    let memory = match &opened.folder {
        Some(folder) => Encoder::learning_memory(folder, &trained, encoder::TOKENS)?,
        // No more words than are allowed.
        None => new_config(spec, spec.base.words_max).learning_memory(&trained, encoder::TOKENS)?,
    };
    let gradients = if trained == Trained::Heads { "" } else { " and their gradients" };
    Ok(Some((memory, format!("{} tokens{gradients}", encoder::TOKENS))))
}

/// The encoder that training begins with.
fn base(
    spec: &TrainEncoderSpec,
    opened: &Opened,
    lessons: &[Lesson],
    texts: &[String],
) -> Result<Encoder> {
    let base = &spec.base;
    let seed = spec.train.seed;
    if let Some(folder) = &opened.folder {
        let precision = match (spec.trained, base.precision) {
            (EncoderTrained::Full, _) => Some(Precision::F32),
            (_, kept) => kept.map(devices::precision),
        };
        return Encoder::open(folder, precision, base.width, base.tokens_max, seed);
    }
    let said = lessons.iter().flat_map(|lesson| [&lesson.request, &lesson.context]);
    let all = said.chain(texts).map(String::as_str);
    let json = words::tokenizer(all, base.words_max)?;
    let tokenizer = Tokenizer::parse("tokenizer.json", &json)?;
    let config = new_config(spec, tokenizer.vocabulary());
    Encoder::random(config, &json, base.width, base.tokens_max, seed)
}

/// The dimensions of a new encoder.
fn new_config(spec: &TrainEncoderSpec, vocabulary: usize) -> BertConfig {
    let base = &spec.base;
    BertConfig {
        vocabulary,
        hidden: base.hidden,
        inner: base.inner,
        layers: base.layers,
        heads: base.heads,
        context_max: base.tokens_max,
        kinds: 2,
        epsilon: 1e-12,
    }
}

fn settings(spec: &TrainEncoderSpec, threads: usize) -> EncoderSettings {
    let trained = match spec.trained {
        EncoderTrained::Heads => Trained::Heads,
        EncoderTrained::Full => Trained::Full,
        EncoderTrained::Lora => Trained::Lora { rank: spec.lora.rank, alpha: spec.lora.alpha },
    };
    EncoderSettings {
        loss: match spec.loss.kind {
            EncoderLoss::Bce => encoder::EncoderLoss::Bce,
            EncoderLoss::Mse => encoder::EncoderLoss::Mse,
        },
        negatives: spec.loss.in_batch,
        batch: spec.train.batch,
        rate: spec.optimizer.learning_rate,
        heads_rate: spec.train.heads_rate,
        decay: spec.optimizer.weight_decay,
        warmup_steps: spec.optimizer.warmup_steps,
        gradient_norm_max: spec.optimizer.clip_norm,
        epochs_max: spec.train.epochs_max,
        patience: spec.train.patience,
        checkpoint_steps: spec.train.checkpoint_steps,
        seed: spec.train.seed,
        threads,
        ..EncoderSettings::new(trained)
    }
}

/// Writes the encoder as others' programs read it, and records the run.
fn put(opened: &Opened, encoder: &Encoder, facts: &Facts) -> Result<()> {
    let mut parts: Vec<PartRef> = Vec::new();
    for (name, bytes) in encoder.to_files()? {
        parts.push(opened.run.put_part(model_key(name), 1, bytes.into())?);
    }
    parts.sort_by(|a, b| a.key.cmp(&b.key));
    let payload = serde_json::to_value(facts).map_err(|e| Error::Incomplete(e.to_string()))?;
    let commit = Commit { rows_read: facts.requests, parts, payload, ..Commit::default() };
    opened.run.put_commit(&commit)
}

impl Opened {
    /// Whether the encoder is there.
    pub fn done(&self) -> Result<bool> {
        Ok(!self.run.epochs()?.is_empty())
    }

    /// Every item in words.
    fn item_texts(&self) -> Result<Vec<String>> {
        let catalogue = &self.labelled.catalogue;
        let texts = self.labelled.texts(catalogue)?;
        Ok((0..catalogue.len() as ItemId).map(|item| texts.item(item)).collect())
    }

    /// The finished run.
    ///
    /// Errors: a run that is not finished.
    pub fn finished(self) -> Result<TrainedEncoder> {
        Ok(TrainedEncoder { facts: facts(&self.run)?, run: self.run, labelled: self.labelled })
    }
}

/// What a finished run came to.
pub fn facts(run: &RunDir) -> Result<Facts> {
    payload(run)
}

impl TrainedEncoder {
    /// Both encoders.
    ///
    /// Errors: files that are gone or changed.
    pub fn encoder(&self) -> Result<Encoder> {
        let what = self.run.path("parts/epoch=000000").display().to_string();
        Encoder::from_files(&what, None, &|name| self.file(name))
    }

    /// What the base will take on a device, by its dimensions, with batches of so many tokens.
    ///
    /// Errors: files that are gone or changed; [`Error::Device`] for a base that no device takes.
    pub fn memory(&self, tokens_max: usize) -> Result<Memory> {
        let what = self.run.path(&model_key("config.json")).display().to_string();
        Encoder::device_memory(&what, &self.file("config.json")?, tokens_max)
    }

    /// A file that the run's commit vouches for.
    fn file(&self, name: &str) -> Result<Bytes> {
        model_file(&self.run, name)
    }
}
