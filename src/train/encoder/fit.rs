//! The training loop of an encoder.

use super::calibrate::calibrate;
use super::device::DeviceStudies;
use super::lessons::{Lesson, Readings, check, hash};
use super::settings::EncoderSettings;
use super::step::Slots;
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::model::encoder::{Encoder, Learner, ResidentLearner, SharedDriver, Trained};
use crate::train::course::{Course, Observer, Pace, StepOutcome, run};
use crate::train::order::Order;
use crate::train::update::{Moments, Update};

/// AdamW's β₁ and β₂, as in BERT.
pub(super) const BETAS: (f32, f32) = (0.9, 0.999);

/// Tokens that a device reads together.
pub const TOKENS: usize = 8192;

/// What came of the training of an encoder.
#[derive(Clone)]
pub struct Fitted {
    /// With the best weights.
    pub encoder: Encoder,
    /// Steps done.
    pub steps: u64,
    /// The mean loss of each pass over a pair, with what the settings add to it.
    pub losses: Vec<f64>,
    /// Step and value of each validation.
    pub curve: Vec<(u64, f64)>,
}

/// Measures an encoder on held-out lessons; none when there are none. Higher is better, and not
/// below −1.
pub type Examine<'a> = dyn FnMut(&Encoder) -> Result<Option<f64>> + 'a;

/// Trains an encoder on judged pairs until `examine` no longer gives a better value, from the
/// observer's latest checkpoint if there is one. The logit's bias begins where the mean score is.
/// What is learned depends on the settings (without
/// `threads`), the encoder, the lessons, the item texts, what `examine` returns, and nothing else.
///
/// Errors: [`crate::error::Error::Model`] for settings out of range, a loss that is not finite, a
/// checkpoint of another run, and what [`Learner::new`] refuses; [`crate::error::Error::Input`] for
/// lessons that nothing can be learned from; what `examine` and the observer return.
pub fn fit(
    settings: &EncoderSettings,
    encoder: Encoder,
    lessons: &[Lesson],
    item_texts: &[String],
    examine: &mut Examine<'_>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    fit_on(None, settings, encoder, (lessons, item_texts), examine, observer)
}

/// As [`fit`], on a device if there is one, whose last bits differ from the processor's: what is
/// multiplied is bf16 there, and a checkpoint of the one is none of the other. Heads alone learn on
/// the processor, from what the base has read on the device.
///
/// Errors: those of [`fit`]; [`Error::Device`] for what [`Encoder::device_refusal`] says, and if
/// the device has too little memory or fails.
pub fn fit_on(
    device: Option<SharedDriver>,
    settings: &EncoderSettings,
    mut encoder: Encoder,
    (lessons, item_texts): (&[Lesson], &[String]),
    examine: &mut Examine<'_>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    settings.check()?;
    check(lessons, item_texts)?;
    if let Some(why) = device.as_ref().and_then(|_| encoder.device_refusal()) {
        return Err(Error::Device(why));
    }
    let (trained, threads) = (&settings.trained, settings.threads);
    let of_heads = *trained == Trained::Heads;
    if of_heads {
        encoder = encoder.on(device.as_slice(), TOKENS)?;
    }
    let mut learner = Learner::new(encoder, trained, settings.seed)?;
    let readings = Readings::of(&learner, trained, lessons, item_texts, threads)?;
    let place = if device.is_some() { ", on a device" } else { "" };
    let there = device.filter(|_| !of_heads);
    let tokens = TOKENS.min(readings.tokens());
    let there =
        there.map(|driver| ResidentLearner::of(driver, &mut learner, tokens)).transpose()?;
    // What a device reads may differ in its last bits from one to another.
    let begun = (!place.is_empty()).then(|| learner.fingerprint());
    calibrate(&mut learner, (lessons, &readings), threads)?;
    let order = Order::new(settings.seed, settings.batch, lessons.len());
    let pace = Pace {
        patience: settings.patience,
        checkpoint_steps: settings.checkpoint_steps,
        ..Pace::of_passes(settings.epochs_max, order.steps_per_epoch(), settings.validate_steps)
    };
    let identity = {
        let settings = EncoderSettings { threads: 0, ..settings.clone() };
        let base = begun.unwrap_or_else(|| learner.fingerprint());
        let taught = hash(lessons, item_texts);
        format!("{settings:?}, encoder {base:016x}, lessons {taught:016x}{place}")
    };
    let plan = Plan { settings, steps_max: pace.steps_max, lessons, readings, order };
    let (learner, counters) = match there {
        None => {
            let mut studies = Studies::new(plan, learner, examine);
            let counters = run(&mut studies, &pace, &identity, observer)?;
            (studies.learner, counters)
        }
        Some(there) => {
            let mut studies = DeviceStudies::new(plan, there, learner, examine)?;
            let counters = run(&mut studies, &pace, &identity, observer)?;
            (studies.learner, counters)
        }
    };
    let (losses, curve) = (counters.losses().collect(), counters.curve().collect());
    Ok(Fitted { encoder: learner.into_encoder()?, steps: counters.step, losses, curve })
}

/// What is learned from, and when.
pub(super) struct Plan<'a> {
    pub settings: &'a EncoderSettings,
    pub steps_max: u64,
    pub lessons: &'a [Lesson],
    pub readings: Readings,
    order: Order,
}

impl Plan<'_> {
    /// The lessons of a step.
    pub fn batch(&mut self, step: u64) -> Vec<u32> {
        self.order.seek(step).map(|place| self.order.example(place)).collect()
    }

    /// The learning rates of a step: of the base, of the heads, of scale and bias of the logit.
    pub fn rates(&self, step: u64) -> [f32; 3] {
        let (with, height) = (self.settings, self.settings.height_at(step, self.steps_max));
        [with.rate, with.heads_rate, with.scale_rate].map(|rate| height * rate)
    }
}

/// An encoder on the processor, and what it learns from.
struct Studies<'a, 'b> {
    plan: Plan<'a>,
    slots: Slots,
    learner: Learner,
    weights: Vec<f32>,
    examine: &'a mut Examine<'b>,
}

impl<'a, 'b> Studies<'a, 'b> {
    fn new(plan: Plan<'a>, learner: Learner, examine: &'a mut Examine<'b>) -> Self {
        let weights = learner.parameters().to_vec();
        Self { plan, slots: Slots::new(weights.len()), learner, weights, examine }
    }
}

impl Course for Studies<'_, '_> {
    fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn set(&mut self, weights: &[f32]) -> Result<()> {
        self.weights.copy_from_slice(weights);
        self.learner.set(weights)
    }

    fn step(&mut self, step: u64, moments: &mut Moments) -> Result<StepOutcome> {
        let batch = self.plan.batch(step);
        let ([rate, of_heads, of_logit], settings) = (self.plan.rates(step), self.plan.settings);
        let taught = (self.plan.lessons, &self.plan.readings);
        let outcome = self.slots.learn(settings, &self.learner, taught, &batch);
        let [_, heads, logit] = self.learner.groups();
        let update = Update {
            step: step + 1,
            rate,
            betas: BETAS,
            decay: settings.decay,
            undecayed: &self.learner.undecayed(),
            apart: &[(heads, of_heads), (logit, of_logit)],
            norm_max: settings.gradient_norm_max,
            threads: settings.threads,
        };
        update.take(&Cpu, self.slots.gradients(), &mut self.weights, moments);
        self.learner.set(&self.weights)?;
        Ok(outcome)
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        (self.examine)(self.learner.encoder())
    }
}
