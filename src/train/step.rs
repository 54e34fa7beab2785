//! One step: the gradient of a batch, by micro-batches in a fixed order, and the optimiser.

use super::batch::{Batches, MicroBatch};
use super::course::StepOutcome;
use super::settings::{Loss, TrainSettings};
use super::update::{MICRO_BATCHES, Moments, Update};
use crate::device::parallel::for_each;
use crate::device::shape::LossShape;
use crate::device::{Backend, CrossEntropy, SampledLoss, SampledRule};
use crate::model::retriever::{Activations, Retriever};

/// AdamW's β₁ and β₂, as in the original.
pub(super) const BETAS: (f32, f32) = (0.9, 0.98);

/// Buffers that live as long as the training.
pub struct Stepper {
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    batch: MicroBatch,
    activations: Activations,
    d_hidden: Vec<f32>,
    gradient: Vec<f32>,
    loss: f64,
    flops: u64,
}

impl Stepper {
    /// Buffers for a model of so many parameters.
    pub fn new(parameters: usize) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        slots.resize_with(MICRO_BATCHES, Slot::default);
        slots.iter_mut().for_each(|slot| slot.gradient.resize(parameters, 0.0));
        Self { slots }
    }

    /// Learns from the batch of a step.
    pub fn step(
        &mut self,
        device: &dyn Backend,
        batches: &mut Batches<'_>,
        (settings, step): (&TrainSettings, u64),
        (retriever, moments): (&mut Retriever, &mut Moments),
    ) -> StepOutcome {
        let places = batches.order.seek(step);
        let share = places.len().div_ceil(MICRO_BATCHES);
        let (batches, threads) = (&*batches, settings.threads);
        for_each(threads, &mut self.slots, |i, slot| {
            let first = places.end.min(places.start + i * share);
            batches.fill(step, first..places.end.min(first + share), &mut slot.batch);
        });
        let positions: usize = self.slots.iter().map(|slot| slot.batch.targets.len()).sum();
        let scale = 1.0 / positions as f32;
        let model = &*retriever;
        for_each(threads, &mut self.slots, |_, slot| {
            slot.learn(device, model, &Learning { settings, log_q: &batches.log_q, scale });
        });
        let update = Update {
            step: step + 1,
            rate: settings.rate_at(step),
            betas: BETAS,
            decay: settings.decay,
            undecayed: &[],
            apart: &[],
            norm_max: settings.gradient_norm_max,
            threads,
        };
        let parts = self.slots.iter_mut().map(|slot| &mut slot.gradient[..]).collect();
        update.take(device, parts, retriever.parameters_mut(), moments);
        StepOutcome {
            loss: self.slots.iter().map(|slot| slot.loss).sum(),
            positions: positions as u64,
            flops: self.slots.iter().map(|slot| slot.flops).sum(),
        }
    }
}

struct Learning<'a> {
    settings: &'a TrainSettings,
    log_q: &'a [f32],
    scale: f32,
}

impl Slot {
    /// Adds the micro-batch's gradient to the slot's.
    fn learn(&mut self, device: &dyn Backend, model: &Retriever, how: &Learning<'_>) {
        let tokens = &self.batch.tokens;
        let (hidden, items) = (model.config().hidden, model.config().items);
        model.forward(device, tokens, &mut self.activations);
        self.d_hidden.resize(tokens.len() * hidden, 0.0);
        let candidates = how.settings.loss.candidates(items);
        let shape = LossShape { rows: tokens.len(), hidden, items, candidates };
        self.flops = 3 * model.flops(tokens) + shape.flops();
        let (x, table) = (self.activations.hidden(), model.item_embeddings());
        let (d_x, d_table) = (&mut self.d_hidden[..], model.item_gradient(&mut self.gradient));
        let scale = how.scale;
        let rule = match how.settings.loss {
            Loss::CrossEntropy => None,
            Loss::SampledSoftmax { .. } => Some(SampledRule::Softmax { log_q: how.log_q }),
            binary => Some(SampledRule::Binary { beta: binary.beta(items) }),
        };
        self.loss = match rule {
            None => {
                let targets = &self.batch.targets;
                device.cross_entropy(CrossEntropy { shape, x, table, targets, scale, d_x, d_table })
            }
            Some(rule) => {
                let candidates = &self.batch.candidates;
                let call = SampledLoss { shape, rule, x, table, candidates, scale, d_x, d_table };
                device.sampled_loss(call)
            }
        };
        let Slot { batch, activations, d_hidden, gradient, .. } = self;
        model.backward(device, &batch.tokens, activations, d_hidden, gradient);
    }
}
