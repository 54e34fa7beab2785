//! One step: the gradient of a batch, by micro-batches in a fixed order, and the optimiser.

use super::batch::{Batches, MicroBatch};
use super::settings::{Loss, TrainSettings};
use crate::device::parallel::for_each;
use crate::device::shape::LossShape;
use crate::device::{AdamW, Backend, CrossEntropy, SampledLoss, SampledRule};
use crate::model::retriever::{Activations, Retriever};

/// Parts of a batch whose gradients are computed apart and then summed in order. Fixed, so that the
/// sum does not depend on threads; each part costs a gradient's memory.
const MICRO_BATCHES: usize = 8;
/// Parameters that are summed and updated as one piece of work.
const CHUNK: usize = 1 << 14;
/// AdamW's β₁ and β₂, as in the original.
const BETAS: (f32, f32) = (0.9, 0.98);

/// The optimiser's state: what a step changes besides the weights.
#[derive(Clone, Default)]
pub struct Moments {
    /// The gradients' running mean.
    pub mean: Vec<f32>,
    /// Their squares'.
    pub square: Vec<f32>,
}

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
        let places = batches.seek(step);
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
        self.update(device, settings, step, (retriever, moments));
        StepOutcome {
            loss: self.slots.iter().map(|slot| slot.loss).sum(),
            positions: positions as u64,
            flops: self.slots.iter().map(|slot| slot.flops).sum(),
        }
    }

    /// Sums the parts' gradients in order and takes the optimiser's step.
    fn update(
        &mut self,
        device: &dyn Backend,
        settings: &TrainSettings,
        step: u64,
        (retriever, moments): (&mut Retriever, &mut Moments),
    ) {
        struct Piece<'a> {
            parts: Vec<&'a mut [f32]>,
            weights: &'a mut [f32],
            mean: &'a mut [f32],
            square: &'a mut [f32],
            norm: f64,
        }
        let mut parts: Vec<_> =
            self.slots.iter_mut().map(|slot| slot.gradient.chunks_mut(CHUNK)).collect();
        let weights = retriever.parameters_mut().chunks_mut(CHUNK);
        let state = moments.mean.chunks_mut(CHUNK).zip(moments.square.chunks_mut(CHUNK));
        let mut pieces: Vec<Piece<'_>> = weights
            .zip(state)
            .map(|(weights, (mean, square))| {
                let parts = parts.iter_mut().filter_map(Iterator::next).collect();
                Piece { parts, weights, mean, square, norm: 0.0 }
            })
            .collect();
        for_each(settings.threads, &mut pieces, |_, piece| {
            let (sum, others) = piece.parts.split_at_mut(1);
            for other in others {
                for (sum, x) in sum[0].iter_mut().zip(other.iter_mut()) {
                    *sum += std::mem::take(x);
                }
            }
            piece.norm = sum[0].iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        });
        let norm = pieces.iter().map(|piece| piece.norm).sum::<f64>().sqrt() as f32;
        let limit = settings.gradient_norm_max;
        let scale = if limit > 0.0 && norm > limit { limit / norm } else { 1.0 };
        let warmth = (step + 1) as f32 / settings.warmup_steps.max(1) as f32;
        for_each(settings.threads, &mut pieces, |_, piece| {
            device.adam_w(AdamW {
                step: step + 1,
                rate: settings.rate * warmth.min(1.0),
                betas: BETAS,
                decay: settings.decay,
                scale,
                gradient: piece.parts[0],
                state: (piece.weights, piece.mean, piece.square),
            });
            piece.parts[0].fill(0.0);
        });
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
        let negatives = how.settings.loss.negatives();
        let candidates = negatives.map_or(items, |n| n + 1);
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
