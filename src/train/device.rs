//! The training of a retriever on a device: weights, gradient and moments are there, and come here
//! when they are validated or kept. Batches are drawn here, one ahead of the device.

use super::batch::{Batches, MicroBatch};
use super::course::{Course, StepOutcome};
use super::settings::{Loss, TrainSettings};
use super::step::BETAS;
use super::update::Moments;
use super::validate::{Part, evaluate_there};
use crate::device::cuda::SharedDriver;
use crate::device::shape::LossShape;
use crate::error::Result;
use crate::model::retriever::{Follow, LossRule, ResidentLearner, Retriever, rows_at_once};
use crate::types::Sequence;
use std::ops::Range;
use std::sync::Arc;

/// Tokens that are learned from together, at most, or one sequence; and candidates of theirs.
const TOKENS_MAX: usize = 1 << 15;
const CANDIDATES_MAX: usize = 1 << 24;

/// A device that a retriever learns on.
pub struct On {
    /// Its driver.
    pub driver: SharedDriver,
    /// How many sequences are learned from together: the gradient is summed from batch to batch.
    pub sequences_at_once: usize,
}

impl On {
    /// With as many sequences as [`sequences_at_once`] says.
    pub fn device(driver: SharedDriver, settings: &TrainSettings) -> Self {
        Self { driver, sequences_at_once: sequences_at_once(settings) }
    }
}

/// How many sequences are learned from together: as many as surely have no more tokens and
/// candidates than are learned from together.
pub fn sequences_at_once(settings: &TrainSettings) -> usize {
    let candidates = settings.loss.negatives().map_or(1, |negatives| negatives + 1);
    let tokens = TOKENS_MAX.min(CANDIDATES_MAX / candidates);
    (tokens / settings.length_max).clamp(1, settings.batch)
}

/// A retriever on a device, and what it learns from.
pub struct DeviceLessons<'a> {
    on: On,
    settings: &'a TrainSettings,
    sequences: &'a [Sequence],
    batches: Batches<'a>,
    there: ResidentLearner,
    /// As it came here last.
    pub retriever: Retriever,
    /// The batch that was drawn last, of a step and from a place on.
    drawn: Option<(u64, usize)>,
    batch: MicroBatch,
}

impl<'a> DeviceLessons<'a> {
    /// Copies the retriever to the device.
    pub fn new(
        on: On,
        settings: &'a TrainSettings,
        sequences: &'a [Sequence],
        batches: Batches<'a>,
        retriever: Retriever,
    ) -> Result<Self> {
        let items = retriever.config().items;
        let tokens = on.sequences_at_once * settings.length_max;
        let rule = match settings.loss {
            Loss::CrossEntropy => LossRule::All(rows_at_once(items, tokens)),
            Loss::SampledSoftmax { .. } => LossRule::Softmax(&batches.log_q),
            binary => LossRule::Binary(binary.beta(items)),
        };
        let there = ResidentLearner::of(Arc::clone(&on.driver), &retriever, rule, tokens)?;
        let batch = MicroBatch::default();
        Ok(Self { on, settings, sequences, batches, there, retriever, drawn: None, batch })
    }

    /// Draws the batch of a step that begins at a place, if it was not drawn last.
    fn draw(&mut self, step: u64, first: usize) {
        let places = self.batches.order.seek(step);
        let end = places.end.min(first + self.on.sequences_at_once);
        if self.drawn.replace((step, first)) != Some((step, first)) {
            self.batches.fill(step, first..end, &mut self.batch);
        }
    }

    /// Adds the gradient of the batches of a step, and draws the first one of the next step.
    fn learn(&mut self, step: u64, places: Range<usize>) -> Result<StepOutcome> {
        let positions = self.batches.positions(places.clone());
        let mut outcome = StepOutcome { positions: positions as u64, ..StepOutcome::default() };
        let mut first = places.start;
        while first < places.end {
            self.draw(step, first);
            let few = self.settings.loss.negatives().is_some();
            let taught = if few { &self.batch.candidates } else { &self.batch.targets };
            let learning = self.there.learn(&self.batch.tokens, taught, 1.0 / positions as f32)?;
            outcome.flops += self.flops();
            // While the device computes.
            first += self.on.sequences_at_once;
            if first < places.end {
                self.draw(step, first);
            } else {
                let next = self.batches.order.seek(step + 1).start;
                self.draw(step + 1, next);
            }
            outcome.loss += self.there.sum(&learning)?;
        }
        Ok(outcome)
    }

    /// Operations of the batch, as on the processor.
    fn flops(&self) -> u64 {
        let (tokens, config) = (&self.batch.tokens, self.retriever.config());
        let candidates = self.settings.loss.candidates(config.items);
        let (rows, hidden, items) = (tokens.len(), config.hidden, config.items);
        3 * self.retriever.flops(tokens) + LossShape { rows, hidden, items, candidates }.flops()
    }
}

impl Course for DeviceLessons<'_> {
    fn weights(&self) -> &[f32] {
        self.retriever.parameters()
    }

    fn set(&mut self, weights: &[f32]) -> Result<()> {
        self.retriever.parameters_mut().copy_from_slice(weights);
        self.there.parameters().set(weights)
    }

    fn resume(&mut self, moments: &Moments) -> Result<()> {
        self.there.parameters().set_moments([&moments.mean, &moments.square])
    }

    fn fetch(&mut self, moments: &mut Moments) -> Result<()> {
        let weights = self.retriever.parameters_mut();
        self.there.parameters().read([weights, &mut moments.mean, &mut moments.square])
    }

    fn step(&mut self, step: u64, _: &mut Moments) -> Result<StepOutcome> {
        let places = self.batches.order.seek(step);
        let outcome = self.learn(step, places)?;
        self.there.parameters().follow(&Follow {
            step: step + 1,
            rates: &[self.settings.rate_at(step)],
            betas: BETAS,
            decay: self.settings.decay,
            norm_max: self.settings.gradient_norm_max,
        })?;
        Ok(outcome)
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        let models = (self.there.resident(), &self.retriever);
        let driver = Arc::clone(&self.on.driver);
        let quality = evaluate_there(driver, models, self.sequences, Part::Validation)?;
        Ok((quality.users > 0).then_some(quality.ndcg_10))
    }
}
