//! The loop of every training: steps, validations, checkpoints, and when to stop.

use super::checkpoint::{Counters, State};
use super::update::Moments;
use crate::error::{Error, Result};

/// Who keeps the checkpoints and watches.
pub trait Observer {
    /// The latest checkpoint, to go on from.
    fn latest(&mut self) -> Result<Option<Vec<u8>>>;
    /// What messages call it.
    fn place(&self) -> String {
        "checkpoint".to_owned()
    }
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
    /// Positions learned from in this step; of a re-ranker, pairs of candidates.
    pub positions: u64,
    /// Floating-point operations of this step.
    pub flops: u64,
    /// What was measured on the validation items, when this step ended in a validation; higher is
    /// better.
    pub validation: Option<f64>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepOutcome {
    /// Sum over the positions, in nats.
    pub loss: f64,
    /// Positions learned from.
    pub positions: u64,
    /// Floating-point operations of the network and the loss.
    pub flops: u64,
}

/// What is trained. Each step is a pure function of its number, the weights and the moments.
pub trait Course {
    /// The weights.
    fn weights(&self) -> &[f32];
    /// Goes on with other weights.
    fn set(&mut self, weights: &[f32]) -> Result<()>;
    /// Goes on with other moments, where they are not here alone.
    fn resume(&mut self, _moments: &Moments) -> Result<()> {
        Ok(())
    }
    /// Brings weights and moments here from where the steps change them: before they are read.
    fn fetch(&mut self, _moments: &mut Moments) -> Result<()> {
        Ok(())
    }
    /// Learns from a step's batch.
    fn step(&mut self, step: u64, moments: &mut Moments) -> Result<StepOutcome>;
    /// Measures the weights; none when there is nothing to measure them on. Higher is better.
    fn validate(&mut self) -> Result<Option<f64>>;
}

/// How long a course is, and what happens on the way.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Steps of one pass over the examples.
    pub steps_per_epoch: u64,
    /// Steps at most.
    pub steps_max: u64,
    /// Steps from one validation to the next; there is one after the last step too.
    pub validate_steps: u64,
    /// Validations without a better one before training stops.
    pub patience: u64,
    /// Steps from one checkpoint to the next, besides the one after each epoch; 0 for none.
    pub checkpoint_steps: u64,
}

impl Pace {
    /// So many passes over the examples, validated every `validate_steps`, or after each pass where
    /// those are 0; neither patience nor checkpoints between passes.
    pub fn of_passes(passes: u64, steps_per_epoch: u64, validate_steps: u64) -> Pace {
        let validate_steps = if validate_steps == 0 { steps_per_epoch } else { validate_steps };
        let steps_max = passes * steps_per_epoch;
        Pace { steps_per_epoch, steps_max, validate_steps, patience: u64::MAX, checkpoint_steps: 0 }
    }
}

/// Trains until validation no longer gets better, from the observer's latest checkpoint if there is
/// one, and leaves the best weights in the course. `identity` tells this run from others.
///
/// Errors: [`Error::Model`] for a loss that is not finite and a checkpoint that is damaged or of
/// another run; what the course and the observer return.
pub fn run(
    course: &mut dyn Course,
    pace: &Pace,
    identity: &str,
    observer: &mut dyn Observer,
) -> Result<Counters> {
    let mut state = State::new(course.weights());
    if let Some(bytes) = observer.latest()? {
        course.set(&state.restore(&observer.place(), &bytes, identity)?)?;
        course.resume(&state.moments)?;
    }
    while !finished(pace, &state.counters) {
        let step = state.counters.step;
        let outcome = course.step(step, &mut state.moments)?;
        let counters = &mut state.counters;
        counters.step += 1;
        counters.positions += outcome.positions;
        let loss = f64::from_bits(counters.loss_bits) + outcome.loss;
        counters.loss_bits = loss.to_bits();
        if !loss.is_finite() {
            return Err(Error::Model(format!(
                "training: the loss of step {step} is {loss}: use a smaller rate or a smaller \
                 gradient_norm_max"
            )));
        }
        let mut progress = Progress {
            step: counters.step,
            steps_per_epoch: pace.steps_per_epoch,
            loss: loss / counters.positions.max(1) as f64,
            positions: outcome.positions,
            flops: outcome.flops,
            validation: None,
        };
        let done = counters.step;
        let epoch_ends = done.is_multiple_of(pace.steps_per_epoch);
        if epoch_ends {
            (counters.loss_bits, counters.positions) = (0, 0);
            counters.losses.push(progress.loss.to_bits());
        }
        let validates = done.is_multiple_of(pace.validate_steps) || done == pace.steps_max;
        if validates {
            progress.validation = validate(course, &mut state)?;
        }
        let due = pace.checkpoint_steps;
        if epoch_ends || (due > 0 && done.is_multiple_of(due)) {
            if !validates {
                course.fetch(&mut state.moments)?;
            }
            observer.save(done, &state.to_bytes(course.weights(), identity)?)?;
        }
        observer.progress(&progress);
    }
    course.set(&state.best)?;
    Ok(state.counters)
}

/// Measures, and remembers the weights if they are the best. Without anything to measure on the
/// latest weights are the best.
fn validate(course: &mut dyn Course, state: &mut State) -> Result<Option<f64>> {
    course.fetch(&mut state.moments)?;
    let value = course.validate()?;
    let curve = &mut state.counters.curve;
    let best = curve.iter().map(|(_, bits)| f64::from_bits(*bits)).fold(-1.0, f64::max);
    if value.is_none_or(|value| value > best) {
        state.best.copy_from_slice(course.weights());
    }
    curve.extend(value.map(|value| (state.counters.step, value.to_bits())));
    Ok(value)
}

/// Whether all steps are done, or the latest validations were no better than an earlier one.
fn finished(pace: &Pace, counters: &Counters) -> bool {
    let values: Vec<f64> = counters.curve().map(|(_, value)| value).collect();
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        best = if *value > values[best] { i } else { best };
    }
    let stale = values.len().saturating_sub(best + 1) as u64;
    stale >= pace.patience || counters.step >= pace.steps_max
}
