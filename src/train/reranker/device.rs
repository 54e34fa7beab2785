//! The training of a re-ranker on a device: weights, gradient and moments are there, and come here
//! when they are validated or kept. The loss of the labels' logits is computed here.

use super::fit::{BETAS, Examine, Example, Measured, Plan};
use super::settings::Contrast;
use crate::error::Result;
use crate::model::decoder::{Batch, Follow, Learner, ResidentLearner, SharedDriver, fitting};
use crate::train::contrast::contrast;
use crate::train::course::{Course, StepOutcome};
use crate::train::rank_net::{pairs, rank_net};
use crate::train::update::Moments;
use std::ops::Range;

/// Tokens that are learned from together. Fixed: the gradient is summed from batch to batch.
pub const TOKENS: usize = 8192;

/// A decoder on a device, and what it learns from.
pub(super) struct DeviceLessons<'a, 'b> {
    plan: Plan<'a>,
    there: ResidentLearner,
    /// As it was set last.
    pub learner: Learner,
    weights: Vec<f32>,
    examine: &'a mut Examine<'b>,
}

impl<'a, 'b> DeviceLessons<'a, 'b> {
    /// Copies the learner to the device.
    pub fn new(
        driver: SharedDriver,
        plan: Plan<'a>,
        learner: Learner,
        examine: &'a mut Examine<'b>,
    ) -> Result<Self> {
        let lengths = || plan.moments.iter().flatten().map(|example| example.tokens.len());
        // Room for the longest prompt, which may be a batch of its own, here or in a validation;
        // and not for more than all.
        let longest =
            lengths().max().unwrap_or(0).max(learner.decoder().config().context_max.min(TOKENS));
        let tokens = TOKENS.min(lengths().sum()).max(longest);
        let kept = plan.settings.kept_bytes_max;
        let there = ResidentLearner::of(driver, &learner, tokens, kept)?;
        let weights = learner.parameters();
        Ok(Self { plan, there, learner, weights, examine })
    }

    /// Adds the gradient of a batch's mean loss, from prompts to prompts.
    fn learn(&mut self, batch: &[&[Example]]) -> Result<StepOutcome> {
        let all = || batch.iter().flat_map(|moment| moment.iter());
        let positions: u64 = all().map(|example| pairs(&example.relevance)).sum();
        let mut outcome = StepOutcome { positions, ..StepOutcome::default() };
        let scale = 1.0 / positions.max(1) as f32;
        // A prompt without pairs teaches nothing.
        let useful: Vec<&Example> = all().filter(|e| pairs(&e.relevance) > 0).collect();
        let labels = self.learner.labels().len();
        let prompts = self.learner.prompts(useful.iter().map(|example| &example.tokens[..]));
        let mut done = 0;
        while done < useful.len() {
            let count = fitting(&prompts[done..], TOKENS);
            let batch = Batch::of(&prompts[done..done + count]);
            let examples = &useful[done..done + count];
            self.there.learn(&self.learner, &batch, &mut |logits, d_logits| {
                let rows = logits.chunks(labels).zip(d_logits.chunks_mut(labels));
                for (Example { relevance, .. }, (logits, d_logits)) in examples.iter().zip(rows) {
                    let (logits, d) =
                        (&logits[..relevance.len()], &mut d_logits[..relevance.len()]);
                    outcome.loss += rank_net(logits, relevance, scale, d);
                }
            })?;
            outcome.flops += self.learner.flops(batch.tokens(), batch.prompts());
            done += count;
        }
        Ok(outcome)
    }

    /// Adds what keeps embeddings apart to their gradient; returns the term.
    fn contrast(&mut self, with: &Contrast) -> Result<f64> {
        let hidden = self.learner.decoder().config().hidden;
        let row = |i: usize| i * hidden..(i + 1) * hidden;
        let places: Vec<Range<usize>> = (0..with.tokens.len()).map(row).collect();
        let mut term = 0.0;
        self.there.with_rows(&self.learner, &with.tokens, &mut |weights, gradient| {
            term = contrast(weights, &places, with.weight, gradient);
        })?;
        Ok(term)
    }
}

impl Course for DeviceLessons<'_, '_> {
    fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn set(&mut self, weights: &[f32]) -> Result<()> {
        self.weights.copy_from_slice(weights);
        self.learner.set(weights)?;
        self.there.parameters().set(weights)
    }

    fn resume(&mut self, moments: &Moments) -> Result<()> {
        self.there.parameters().set_moments([&moments.mean, &moments.square])
    }

    fn fetch(&mut self, moments: &mut Moments) -> Result<()> {
        self.there.parameters().read([&mut self.weights, &mut moments.mean, &mut moments.square])
    }

    fn step(&mut self, step: u64, _: &mut Moments) -> Result<StepOutcome> {
        let batch = self.plan.batch(step);
        let mut outcome = self.learn(&batch)?;
        let settings = self.plan.settings;
        if let Some(with) = &settings.contrast {
            let term = self.contrast(with)?;
            outcome.loss += f64::from(with.weight) * term * outcome.positions as f64;
        }
        self.there.parameters().follow(&Follow {
            step: step + 1,
            rates: &[settings.rate_at(step, self.plan.steps_max)],
            betas: BETAS,
            decay: settings.decay,
            norm_max: settings.gradient_norm_max,
        })?;
        Ok(outcome)
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        (self.examine)(Measured::There(self.there.resident()))
    }
}
