//! The gradient of a batch of prompts, by micro-batches in a fixed order.

use super::fit::Example;
use crate::device::Backend;
use crate::device::parallel::for_each;
use crate::model::decoder::{Learner, Tape};
use crate::train::course::StepOutcome;
use crate::train::rank_net::{pairs, rank_net};
use crate::train::update::MICRO_BATCHES;

/// Tokens whose activations are held at once: enough rows to fill the kernels.
const TOKENS: usize = 1024;

/// Buffers that live as long as the training.
#[derive(Default)]
pub struct Slots(Vec<Slot>);

#[derive(Default)]
struct Slot {
    tape: Tape,
    logits: Vec<f32>,
    d_logits: Vec<f32>,
    gradient: Vec<f32>,
    loss: f64,
    flops: u64,
}

impl Slots {
    /// Buffers for so many parameters.
    pub fn new(parameters: usize) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        slots.resize_with(MICRO_BATCHES, Slot::default);
        slots.iter_mut().for_each(|slot| slot.gradient.resize(parameters, 0.0));
        Self(slots)
    }

    /// Computes the gradient of a batch's mean loss, part by part.
    pub fn learn(
        &mut self,
        device: &dyn Backend,
        learner: &Learner,
        batch: &[&Example],
        threads: usize,
    ) -> StepOutcome {
        let positions: u64 = batch.iter().map(|example| pairs(&example.relevance)).sum();
        let scale = 1.0 / positions.max(1) as f32;
        // A prompt without pairs teaches nothing.
        let useful: Vec<&Example> =
            batch.iter().copied().filter(|example| pairs(&example.relevance) > 0).collect();
        let share = useful.len().div_ceil(MICRO_BATCHES);
        for_each(threads, &mut self.0, |i, slot| {
            let first = useful.len().min(i * share);
            slot.learn(device, learner, &useful[first..useful.len().min(first + share)], scale);
        });
        StepOutcome {
            loss: self.0.iter().map(|slot| slot.loss).sum(),
            positions,
            flops: self.0.iter().map(|slot| slot.flops).sum(),
        }
    }

    /// The parts' gradients.
    pub fn gradients(&mut self) -> Vec<&mut [f32]> {
        self.0.iter_mut().map(|slot| &mut slot.gradient[..]).collect()
    }
}

impl Slot {
    /// Adds the gradient of these prompts to the slot's.
    fn learn(&mut self, device: &dyn Backend, learner: &Learner, all: &[&Example], scale: f32) {
        (self.loss, self.flops) = (0.0, 0);
        let labels = learner.labels().len();
        let mut rest = all;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = rest.iter().take_while(|example| {
                tokens += example.tokens.len();
                tokens <= TOKENS
            });
            let (some, after) = rest.split_at(fits.count().max(1));
            rest = after;
            let batch = learner.batch(some.iter().map(|example| &example.tokens[..]));
            self.logits.resize(some.len() * labels, 0.0);
            learner.forward(device, &batch, &mut self.tape, &mut self.logits);
            self.d_logits.clear();
            self.d_logits.resize(some.len() * labels, 0.0);
            let rows = self.logits.chunks(labels).zip(self.d_logits.chunks_mut(labels));
            for (example, (logits, d_logits)) in some.iter().zip(rows) {
                let count = example.relevance.len();
                let d_scores = &mut d_logits[..count];
                self.loss += rank_net(&logits[..count], &example.relevance, scale, d_scores);
            }
            let (tape, gradient) = (&mut self.tape, &mut self.gradient);
            learner.backward(device, &batch, tape, &self.d_logits, gradient);
            let tokens = some.iter().map(|example| example.tokens.len()).sum();
            self.flops += learner.flops(tokens, some.len());
        }
    }
}
