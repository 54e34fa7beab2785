//! The training of a retriever.

use super::batch::Batches;
use super::course::{Course, Observer, Pace, StepOutcome, run};
use super::device::{DeviceLessons, On};
use super::settings::TrainSettings;
use super::step::Stepper;
use super::update::Moments;
use super::validate::{Part, evaluate};
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::model::retriever::Retriever;
use crate::types::{Sequence, mix64};

/// What came of a training run.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The best retriever, as [`Retriever::to_bytes`] writes it.
    pub retriever: Vec<u8>,
    /// Epochs done.
    pub epochs: u64,
    /// Steps done.
    pub steps: u64,
    /// The mean loss of each epoch's positions, in nats.
    pub losses: Vec<f64>,
    /// Epoch and NDCG@10 of each validation.
    pub curve: Vec<(u64, f64)>,
}

/// Trains a retriever until validation no longer gets better, from the observer's latest checkpoint
/// if there is one. The retriever and every checkpoint depend on the settings (without `threads`),
/// the sequences and nothing else.
///
/// Errors: [`Error::Model`] for settings out of range, items outside the catalogue, a loss that is
/// not finite, and a checkpoint of another run; [`Error::Input`] when nobody has two training
/// items; what the observer returns.
pub fn fit(
    settings: &TrainSettings,
    catalogue_items: usize,
    sequences: &[Sequence],
    observer: &mut dyn Observer,
) -> Result<Trained> {
    fit_on(None, settings, catalogue_items, sequences, observer)
}

/// As [`fit`], on a device if there is one, whose last bits differ from the processor's: what is
/// multiplied is bf16 there, and a checkpoint of the one is none of the other.
///
/// Errors: those of [`fit`]; [`Error::Device`] for what
/// [`crate::model::retriever::RetrieverConfig::learning_refusal`] says, and if the device has too
/// little memory or fails.
pub fn fit_on(
    device: Option<On>,
    settings: &TrainSettings,
    catalogue_items: usize,
    sequences: &[Sequence],
    observer: &mut dyn Observer,
) -> Result<Trained> {
    settings.check()?;
    check_sequences(catalogue_items, sequences)?;
    let config = settings.retriever(catalogue_items);
    if let Some(why) = device.as_ref().and_then(|_| config.learning_refusal()) {
        return Err(Error::Device(why));
    }
    let retriever = Retriever::random(config, settings.seed)?;
    let batches = Batches::new(settings, catalogue_items, sequences);
    let steps_per_epoch = batches.order.steps_per_epoch();
    let validate_steps = settings.validate_epochs * steps_per_epoch;
    let pace = Pace {
        patience: settings.patience,
        checkpoint_steps: settings.checkpoint_steps,
        ..Pace::of_passes(settings.epochs_max, steps_per_epoch, validate_steps)
    };
    let identity = {
        let data = fingerprint(catalogue_items, sequences);
        let place = if device.is_some() { ", on a device" } else { "" };
        let settings = serde_json::to_string(settings).map_err(|e| Error::Model(e.to_string()))?;
        format!("{settings} on {data}{place}")
    };
    let (retriever, counters) = match device {
        None => {
            let stepper = Stepper::new(retriever.parameters().len());
            let mut lessons = Lessons { settings, sequences, batches, stepper, retriever };
            let counters = run(&mut lessons, &pace, &identity, observer)?;
            (lessons.retriever, counters)
        }
        Some(on) => {
            let mut lessons = DeviceLessons::new(on, settings, sequences, batches, retriever)?;
            let counters = run(&mut lessons, &pace, &identity, observer)?;
            (lessons.retriever, counters)
        }
    };
    Ok(Trained {
        retriever: retriever.to_bytes()?,
        epochs: counters.step / steps_per_epoch,
        steps: counters.step,
        losses: counters.losses().collect(),
        curve: counters.curve().map(|(step, value)| (step / steps_per_epoch, value)).collect(),
    })
}

/// A retriever, and what it learns from.
struct Lessons<'a> {
    settings: &'a TrainSettings,
    sequences: &'a [Sequence],
    batches: Batches<'a>,
    stepper: Stepper,
    retriever: Retriever,
}

impl Course for Lessons<'_> {
    fn weights(&self) -> &[f32] {
        self.retriever.parameters()
    }

    fn set(&mut self, weights: &[f32]) -> Result<()> {
        self.retriever.parameters_mut().copy_from_slice(weights);
        Ok(())
    }

    fn step(&mut self, step: u64, moments: &mut Moments) -> Result<StepOutcome> {
        let Self { settings, batches, stepper, retriever, .. } = self;
        Ok(stepper.step(&Cpu, batches, (settings, step), (retriever, moments)))
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        let (sequences, threads) = (self.sequences, self.settings.threads);
        let quality = evaluate(&Cpu, &self.retriever, sequences, Part::Validation, threads)?;
        Ok((quality.users > 0).then_some(quality.ndcg_10))
    }
}

fn check_sequences(items: usize, sequences: &[Sequence]) -> Result<()> {
    for sequence in sequences {
        let user = &sequence.user;
        let held = sequence.train as usize + sequence.valid as usize;
        if held > sequence.items.len() {
            let found = sequence.items.len();
            return Err(Error::Model(format!(
                "sequence of user {user}: train + valid = {held}, but it has {found} items"
            )));
        }
        if let Some(item) = sequence.items.iter().find(|item| **item as usize >= items) {
            return Err(Error::Model(format!(
                "sequence of user {user}: item {item} is outside the catalogue of {items} items"
            )));
        }
    }
    if sequences.iter().all(|sequence| sequence.train < 2) {
        return Err(Error::Input(format!(
            "training: none of {} sequences has two training items: check the split and the k-core",
            sequences.len()
        )));
    }
    Ok(())
}

/// Names the data in a checkpoint.
fn fingerprint(items: usize, sequences: &[Sequence]) -> String {
    let mut hash = mix64(items as u64);
    for sequence in sequences {
        hash = mix64(hash ^ (u64::from(sequence.train) << 32 | u64::from(sequence.valid)));
        hash = sequence.items.iter().fold(hash, |hash, item| mix64(hash ^ u64::from(*item)));
    }
    format!("{} sequences over {items} items, hash {hash:016x}", sequences.len())
}
