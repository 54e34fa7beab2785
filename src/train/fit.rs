//! The training loop: steps, validations, checkpoints, and when to stop.

use super::batch::Batches;
use super::checkpoint::{Counters, State};
use super::settings::TrainSettings;
use super::step::{Moments, Stepper};
use super::validate::{Part, evaluate};
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::model::retriever::Retriever;
use crate::types::{Sequence, mix64};

/// Who keeps the checkpoints and watches.
pub trait Observer {
    /// The latest checkpoint, to go on from.
    fn latest(&mut self) -> Result<Option<Vec<u8>>>;
    /// Keeps a checkpoint. An error ends the training; the next run goes on from what was kept.
    fn save(&mut self, step: u64, checkpoint: &[u8]) -> Result<()>;
    /// Hears of every step.
    fn progress(&mut self, progress: &Progress);
}

/// Where a training run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// The mean loss of this epoch's positions so far, in nats.
    pub loss: f64,
    /// Positions learned from in this step.
    pub positions: u64,
    /// Floating-point operations of this step.
    pub flops: u64,
    /// NDCG@10 on the validation items, when this step ended in a validation.
    pub validation: Option<f64>,
}

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
    settings.check()?;
    check_sequences(catalogue_items, sequences)?;
    let data = fingerprint(catalogue_items, sequences);
    let mut batches = Batches::new(settings, catalogue_items, sequences);
    let steps_per_epoch = batches.steps_per_epoch();
    let mut state = start(settings, catalogue_items)?;
    if let Some(bytes) = observer.latest()? {
        state.restore(&bytes, settings, &data)?;
    }
    let mut stepper = Stepper::new(state.best.len());
    while !finished(settings, &state.counters, steps_per_epoch) {
        let step = state.counters.step;
        let model = (&mut state.retriever, &mut state.moments);
        let outcome = stepper.step(&Cpu, &mut batches, (settings, step), model);
        let counters = &mut state.counters;
        counters.step += 1;
        counters.positions += outcome.positions;
        let loss = f64::from_bits(counters.loss_bits) + outcome.loss;
        counters.loss_bits = loss.to_bits();
        if !loss.is_finite() {
            return Err(Error::Model(format!(
                "training: the loss of step {step} is {loss}: use a smaller rate (now {}) or a \
                 gradient_norm_max",
                settings.rate
            )));
        }
        let mut progress = Progress {
            step: counters.step,
            steps_per_epoch,
            loss: loss / counters.positions as f64,
            positions: outcome.positions,
            flops: outcome.flops,
            validation: None,
        };
        let epoch_ends = counters.step.is_multiple_of(steps_per_epoch);
        if epoch_ends {
            (counters.loss_bits, counters.positions) = (0, 0);
            counters.losses.push(progress.loss.to_bits());
            progress.validation = validate(settings, sequences, &mut state, steps_per_epoch)?;
        }
        let due = settings.checkpoint_steps;
        if epoch_ends || (due > 0 && state.counters.step.is_multiple_of(due)) {
            observer.save(state.counters.step, &state.to_bytes(settings, &data)?)?;
        }
        observer.progress(&progress);
    }
    let State { mut retriever, best, counters, .. } = state;
    retriever.parameters_mut().copy_from_slice(&best);
    Ok(Trained {
        retriever: retriever.to_bytes()?,
        epochs: counters.step / steps_per_epoch,
        steps: counters.step,
        losses: counters.losses.iter().map(|bits| f64::from_bits(*bits)).collect(),
        curve: counters.curve.iter().map(|(epoch, bits)| (*epoch, f64::from_bits(*bits))).collect(),
    })
}

fn start(settings: &TrainSettings, items: usize) -> Result<State> {
    let retriever = Retriever::random(settings.retriever(items), settings.seed)?;
    let best = retriever.parameters().to_vec();
    let zeros = vec![0.0; best.len()];
    let moments = Moments { mean: zeros.clone(), square: zeros };
    Ok(State { retriever, moments, best, counters: Counters::default() })
}

/// At an epoch's end: measures, and remembers the weights if they are the best. Without validation
/// items the latest weights are the best.
fn validate(
    settings: &TrainSettings,
    sequences: &[Sequence],
    state: &mut State,
    steps_per_epoch: u64,
) -> Result<Option<f64>> {
    let epoch = state.counters.step / steps_per_epoch;
    if !epoch.is_multiple_of(settings.validate_epochs) && epoch != settings.epochs_max {
        return Ok(None);
    }
    let part = Part::Validation;
    let quality = evaluate(&Cpu, &state.retriever, sequences, part, settings.threads)?;
    let curve = &mut state.counters.curve;
    let best = curve.iter().map(|(_, bits)| f64::from_bits(*bits)).fold(-1.0, f64::max);
    if quality.ndcg_10 > best || quality.users == 0 {
        state.best.copy_from_slice(state.retriever.parameters());
    }
    if quality.users == 0 {
        return Ok(None);
    }
    curve.push((epoch, quality.ndcg_10.to_bits()));
    Ok(Some(quality.ndcg_10))
}

/// Whether all epochs are done, or the latest validations were no better than an earlier one.
fn finished(settings: &TrainSettings, counters: &Counters, steps_per_epoch: u64) -> bool {
    let values: Vec<f64> = counters.curve.iter().map(|(_, bits)| f64::from_bits(*bits)).collect();
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        best = if *value > values[best] { i } else { best };
    }
    let stale = values.len().saturating_sub(best + 1) as u64;
    let between = !counters.step.is_multiple_of(steps_per_epoch);
    !between
        && (stale >= settings.patience || counters.step >= settings.epochs_max * steps_per_epoch)
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
