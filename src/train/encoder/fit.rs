//! The training loop of an encoder.

use super::calibrate::calibrate;
use super::lessons::{Lesson, Readings, check, hash};
use super::settings::EncoderSettings;
use super::step::Slots;
use crate::device::Cpu;
use crate::error::Result;
use crate::model::encoder::{Encoder, Learner};
use crate::train::course::{Course, Observer, Pace, StepOutcome, run};
use crate::train::order::Order;
use crate::train::update::{Moments, Update};

/// AdamW's β₁ and β₂, as in BERT.
const BETAS: (f32, f32) = (0.9, 0.999);

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
    settings.check()?;
    check(lessons, item_texts)?;
    let mut learner = Learner::new(encoder, &settings.trained, settings.seed)?;
    let readings =
        Readings::of(&learner, &settings.trained, lessons, item_texts, settings.threads)?;
    calibrate(&mut learner, (lessons, &readings), settings.threads)?;
    let order = Order::new(settings.seed, settings.batch, lessons.len());
    let pace = Pace {
        patience: settings.patience,
        checkpoint_steps: settings.checkpoint_steps,
        ..Pace::of_passes(settings.epochs_max, order.steps_per_epoch(), settings.validate_steps)
    };
    let identity = {
        let settings = EncoderSettings { threads: 0, ..settings.clone() };
        let (base, taught) = (learner.fingerprint(), hash(lessons, item_texts));
        format!("{settings:?}, encoder {base:016x}, lessons {taught:016x}")
    };
    let weights = learner.parameters().to_vec();
    let slots = Slots::new(weights.len());
    let steps_max = pace.steps_max;
    let mut studies =
        Studies { settings, steps_max, lessons, readings, order, slots, learner, weights, examine };
    let counters = run(&mut studies, &pace, &identity, observer)?;
    let (losses, curve) = (counters.losses().collect(), counters.curve().collect());
    Ok(Fitted { encoder: studies.learner.into_encoder()?, steps: counters.step, losses, curve })
}

/// An encoder, and what it learns from.
struct Studies<'a, 'b> {
    settings: &'a EncoderSettings,
    steps_max: u64,
    lessons: &'a [Lesson],
    readings: Readings,
    order: Order,
    slots: Slots,
    learner: Learner,
    weights: Vec<f32>,
    examine: &'a mut Examine<'b>,
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
        let settings = self.settings;
        let places = self.order.seek(step);
        let batch: Vec<u32> = places.map(|place| self.order.example(place)).collect();
        let taught = (self.lessons, &self.readings);
        let outcome = self.slots.learn(settings, &self.learner, taught, &batch);
        let height = settings.height_at(step, self.steps_max);
        let [_, heads, logit] = self.learner.groups();
        let update = Update {
            step: step + 1,
            rate: height * settings.rate,
            betas: BETAS,
            decay: settings.decay,
            undecayed: &self.learner.undecayed(),
            apart: &[(heads, height * settings.heads_rate), (logit, height * settings.scale_rate)],
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
