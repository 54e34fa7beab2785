//! The training of a retriever on a device: weights, gradient and moments are there, and come here
//! when they are validated or kept. Batches are drawn here, a step ahead of the device.

use super::batch::{Batches, MicroBatch};
use super::course::{Course, StepOutcome};
use super::settings::{Loss, TrainSettings};
use super::step::BETAS;
use super::update::Moments;
use super::validate::{Part, evaluate_there};
use crate::device::cuda::SharedDriver;
use crate::device::shape::LossShape;
use crate::error::Result;
use crate::model::retriever::{Follow, LossRule, ResidentLearner, Retriever};
use crate::types::Sequence;
use std::sync::Arc;

/// Tokens that are learned from together. Fixed: the gradient is summed from batch to batch.
pub const TOKENS: usize = 1 << 15;

/// A retriever on a device, and what it learns from.
pub struct DeviceLessons<'a> {
    driver: SharedDriver,
    settings: &'a TrainSettings,
    sequences: &'a [Sequence],
    batches: Batches<'a>,
    there: ResidentLearner,
    /// As it came here last.
    pub retriever: Retriever,
    /// A step, drawn ahead.
    ahead: Option<(u64, Drawn)>,
}

/// What a step learns from.
struct Drawn {
    batches: Vec<MicroBatch>,
    positions: usize,
}

/// How many sequences are learned from together: as many as surely have no more than the tokens.
pub fn sequences_at_once(settings: &TrainSettings) -> usize {
    (TOKENS / settings.length_max).clamp(1, settings.batch)
}

impl<'a> DeviceLessons<'a> {
    /// Copies the retriever to the device.
    pub fn new(
        driver: SharedDriver,
        settings: &'a TrainSettings,
        sequences: &'a [Sequence],
        batches: Batches<'a>,
        retriever: Retriever,
    ) -> Result<Self> {
        let rule = match settings.loss {
            Loss::CrossEntropy => LossRule::All,
            Loss::SampledSoftmax { .. } => LossRule::Softmax(&batches.log_q),
            binary => LossRule::Binary(binary.beta(retriever.config().items)),
        };
        let tokens = sequences_at_once(settings) * settings.length_max;
        let there = ResidentLearner::of(Arc::clone(&driver), &retriever, rule, tokens)?;
        Ok(Self { driver, settings, sequences, batches, there, retriever, ahead: None })
    }

    fn draw(&mut self, step: u64) -> Drawn {
        let places = self.batches.order.seek(step);
        let positions = self.batches.positions(places.clone());
        let at_once = sequences_at_once(self.settings);
        let mut batches = Vec::with_capacity(places.len().div_ceil(at_once));
        for first in places.clone().step_by(at_once) {
            let mut batch = MicroBatch::default();
            self.batches.fill(step, first..places.end.min(first + at_once), &mut batch);
            batches.push(batch);
        }
        Drawn { batches, positions }
    }

    /// Operations of a batch, as on the processor.
    fn flops(&self, batch: &MicroBatch) -> u64 {
        let (hidden, items) = (self.retriever.config().hidden, self.retriever.config().items);
        let candidates = self.settings.loss.negatives().map_or(items, |negatives| negatives + 1);
        let shape = LossShape { rows: batch.tokens.len(), hidden, items, candidates };
        3 * self.retriever.flops(&batch.tokens) + shape.flops()
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
        let drawn = match self.ahead.take() {
            Some((ahead, drawn)) if ahead == step => drawn,
            _ => self.draw(step),
        };
        let positions = drawn.positions;
        let mut outcome = StepOutcome { positions: positions as u64, ..StepOutcome::default() };
        let mut losses = Vec::with_capacity(drawn.batches.len());
        for batch in &drawn.batches {
            let few = self.settings.loss.negatives().is_some();
            let taught = if few { &batch.candidates } else { &batch.targets };
            losses.push(self.there.learn(&batch.tokens, taught, 1.0 / positions as f32)?);
            outcome.flops += self.flops(batch);
        }
        // While the device computes; nothing has waited for it yet.
        self.ahead = Some((step + 1, self.draw(step + 1)));
        self.there.parameters().follow(&Follow {
            step: step + 1,
            rates: &[self.settings.rate_at(step)],
            betas: BETAS,
            decay: self.settings.decay,
            norm_max: self.settings.gradient_norm_max,
        })?;
        for losses in &losses {
            outcome.loss += self.there.sum(losses)?;
        }
        Ok(outcome)
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        let models = (self.there.resident(), &self.retriever);
        let driver = Arc::clone(&self.driver);
        let quality = evaluate_there(driver, models, self.sequences, Part::Validation)?;
        Ok((quality.users > 0).then_some(quality.ndcg_10))
    }
}
