//! The training loop of a re-ranker.

use super::device::DeviceLessons;
use super::settings::{Contrast, RerankerSettings};
use super::step::Slots;
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::model::decoder::{Decoder, Learner, Prompt, Resident, SharedDriver};
use crate::train::contrast::contrast;
use crate::train::course::{Course, Observer, Pace, StepOutcome, run};
use crate::train::order::Order;
use crate::train::rank_net::pairs;
use crate::train::update::{Moments, Update};
use crate::types::mix64;
use std::ops::Range;

/// AdamW's β₁ and β₂, as in COREC.
pub(super) const BETAS: (f32, f32) = (0.9, 0.999);

/// What a step learns from: one prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// The prompt.
    pub tokens: Vec<u32>,
    /// How high each candidate is to stand: its matched controls, and a bonus for the item that was
    /// chosen. Candidate j is scored by the logit of label j.
    pub relevance: Vec<f32>,
}

/// What came of the training of a re-ranker.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// With the best weights: its adapter, or its decoder when every weight was trained.
    pub learner: Learner,
    /// Steps done.
    pub steps: u64,
    /// The mean loss of each pass, in nats a pair, with what the settings add to it.
    pub losses: Vec<f64>,
    /// Step and value of each validation.
    pub curve: Vec<(u64, f64)>,
}

/// A decoder that is measured, where it learns.
#[derive(Clone, Copy)]
pub enum Measured<'a> {
    /// On the processor.
    Here(&'a Decoder),
    /// On a device.
    There(&'a Resident),
}

impl Measured<'_> {
    /// The labels' logits after each prompt, (prompts, labels).
    ///
    /// Errors: [`Error::Model`] for a prompt that is refused, and for logits that are not finite;
    /// [`Error::Device`] if the device fails.
    pub fn logits(self, prompts: &[Prompt], labels: &[u32], threads: usize) -> Result<Vec<f32>> {
        match self {
            Self::Here(decoder) => decoder.logits(&Cpu, prompts, &decoder.labels(labels)?, threads),
            Self::There(resident) => resident.logits(prompts, labels),
        }
    }
}

/// Measures a decoder on held-out prompts; none when there are none. Higher is better, and not
/// below 0. An adapter that is trained is the decoder's number 0.
pub type Examine<'a> = dyn FnMut(Measured<'_>) -> Result<Option<f64>> + 'a;

/// Trains a decoder on pairs of candidates ([`crate::train::rank_net::rank_net`]) until `examine`
/// no longer gives a better value, from the observer's latest checkpoint if there is one. Batches
/// are drawn of moments: a moment's examples may begin alike, and then cost little more than one.
/// All prompts use the first of the labels. What is learned depends on the settings (without
/// `kept_bytes_max` and `threads`), the decoder, the labels, the moments, what `examine` returns,
/// and nothing else.
///
/// Errors: [`Error::Model`] for settings out of range, prompts that the decoder cannot take, a loss
/// that is not finite, a checkpoint of another run, and what [`Learner::new`] refuses;
/// [`Error::Input`] when no example has candidates of different relevance; what `examine` and the
/// observer return.
pub fn fit(
    settings: &RerankerSettings,
    decoder: Decoder,
    labels: &[u32],
    moments: &[Vec<Example>],
    examine: &mut Examine<'_>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    fit_on(None, settings, decoder, labels, moments, examine, observer)
}

/// As [`fit`], on a device if there is one, whose last bits differ from the processor's: what is
/// multiplied is bf16 there, and a checkpoint of the one is none of the other.
///
/// Errors: those of [`fit`]; [`Error::Device`] if the device does not take the decoder, or fails.
pub fn fit_on(
    device: Option<SharedDriver>,
    settings: &RerankerSettings,
    decoder: Decoder,
    labels: &[u32],
    moments: &[Vec<Example>],
    examine: &mut Examine<'_>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    settings.check()?;
    check_examples(&decoder, labels.len(), moments)?;
    let learner = Learner::new(decoder, &settings.trained, labels, settings.seed)?;
    let apart = apart(&learner, settings)?;
    let order = Order::new(settings.seed, settings.batch, moments.len());
    let pace = Pace {
        patience: settings.patience,
        checkpoint_steps: settings.checkpoint_steps,
        ..Pace::of_passes(settings.epochs_max, order.steps_per_epoch(), settings.validate_steps)
    };
    let mut identity = identity(settings, &learner, moments);
    let plan = Plan { settings, steps_max: pace.steps_max, moments, order };
    let (learner, counters) = match device {
        None => {
            let mut lessons = Lessons::new(plan, learner, apart, examine);
            let counters = run(&mut lessons, &pace, &identity, observer)?;
            (lessons.learner, counters)
        }
        Some(driver) => {
            identity.push_str(", on a device");
            let mut lessons = DeviceLessons::new(driver, plan, learner, examine)?;
            let counters = run(&mut lessons, &pace, &identity, observer)?;
            (lessons.learner, counters)
        }
    };
    let (losses, curve) = (counters.losses().collect(), counters.curve().collect());
    Ok(Fitted { learner, steps: counters.step, losses, curve })
}

/// What is learned from, and when.
pub(super) struct Plan<'a> {
    pub settings: &'a RerankerSettings,
    pub steps_max: u64,
    pub moments: &'a [Vec<Example>],
    order: Order,
}

impl<'a> Plan<'a> {
    /// The moments of a step.
    pub fn batch(&mut self, step: u64) -> Vec<&'a [Example]> {
        let places = self.order.seek(step);
        places.map(|place| &self.moments[self.order.example(place) as usize][..]).collect()
    }
}

/// A decoder on the processor, and what it learns from.
struct Lessons<'a, 'b> {
    plan: Plan<'a>,
    slots: Slots,
    learner: Learner,
    weights: Vec<f32>,
    /// Where the embeddings are that the settings keep apart.
    apart: Vec<Range<usize>>,
    examine: &'a mut Examine<'b>,
}

impl<'a, 'b> Lessons<'a, 'b> {
    fn new(
        plan: Plan<'a>,
        learner: Learner,
        apart: Vec<Range<usize>>,
        examine: &'a mut Examine<'b>,
    ) -> Self {
        let weights = learner.parameters();
        let slots = Slots::new(weights.len(), plan.settings.kept_bytes_max);
        Self { plan, slots, learner, weights, apart, examine }
    }
}

impl Course for Lessons<'_, '_> {
    fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn set(&mut self, weights: &[f32]) -> Result<()> {
        self.weights.copy_from_slice(weights);
        self.learner.set(weights)
    }

    fn step(&mut self, step: u64, moments: &mut Moments) -> Result<StepOutcome> {
        let batch = self.plan.batch(step);
        let settings = self.plan.settings;
        let threads = settings.threads;
        let mut outcome = self.slots.learn(&Cpu, &self.learner, &batch, threads);
        if let Some(Contrast { weight, .. }) = &settings.contrast {
            // The parts' gradients are summed: it is added to the first.
            let gradient = self.slots.gradients().swap_remove(0);
            let term = contrast(&self.weights, &self.apart, *weight, gradient);
            outcome.loss += f64::from(*weight) * term * outcome.positions as f64;
        }
        let update = Update {
            step: step + 1,
            rate: settings.rate_at(step, self.plan.steps_max),
            betas: BETAS,
            decay: settings.decay,
            undecayed: &self.learner.undecayed(),
            apart: &[],
            norm_max: settings.gradient_norm_max,
            threads,
        };
        update.take(&Cpu, self.slots.gradients(), &mut self.weights, moments);
        self.learner.set(&self.weights)?;
        Ok(outcome)
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        (self.examine)(Measured::Here(self.learner.decoder()))
    }
}

/// Where the embeddings are that the settings keep apart.
fn apart(learner: &Learner, settings: &RerankerSettings) -> Result<Vec<Range<usize>>> {
    let tokens = settings.contrast.iter().flat_map(|contrast| &contrast.tokens);
    let place = |token: &u32| {
        let refused = || Error::Model(format!("contrast: the embedding of token {token} is fixed"));
        learner.place(*token).ok_or_else(refused)
    };
    tokens.map(place).collect()
}

fn check_examples(decoder: &Decoder, labels: usize, moments: &[Vec<Example>]) -> Result<()> {
    let examples = || moments.iter().flatten();
    for (i, Example { tokens, relevance }) in examples().enumerate() {
        let refuse = |why: String| Err(Error::Model(format!("example {}: {why}", i + 1)));
        if let Some(why) = decoder.refusal(&Prompt { tokens: tokens.clone(), adapter: None }) {
            return refuse(why);
        }
        if relevance.len() > labels {
            let found = relevance.len();
            return refuse(format!(
                "expected at most {labels} candidates, one for each label, found {found}"
            ));
        }
        if relevance.iter().any(|relevance| !relevance.is_finite()) {
            return refuse("its relevance holds NaN or infinity".into());
        }
    }
    if examples().all(|example| pairs(&example.relevance) == 0) {
        return Err(Error::Input(format!(
            "training: none of {} examples has candidates of different relevance: check the \
             controls",
            examples().count()
        )));
    }
    Ok(())
}

/// Tells a run from others: settings, model, labels and examples.
fn identity(settings: &RerankerSettings, learner: &Learner, moments: &[Vec<Example>]) -> String {
    let mut hash = learner.fingerprint();
    for Example { tokens, relevance } in moments.iter().flatten() {
        hash = mix64(hash ^ ((tokens.len() as u64) << 32 | relevance.len() as u64));
        let relevance = relevance.iter().map(|relevance| relevance.to_bits());
        let words = tokens.iter().copied().chain(relevance);
        hash = words.fold(hash, |hash, word| mix64(hash ^ u64::from(word)));
    }
    // Threads and what they keep change nothing.
    let settings = RerankerSettings { threads: 0, kept_bytes_max: 0, ..settings.clone() };
    format!("{settings:?} on {} moments, hash {hash:016x}", moments.len())
}
