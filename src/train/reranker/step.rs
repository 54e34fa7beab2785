//! The gradient of a batch of prompts, by micro-batches in a fixed order.

use super::fit::Example;
use crate::device::Backend;
use crate::device::parallel::for_each;
use crate::model::decoder::{Batch, Learner, Tape, fitting};
use crate::train::course::StepOutcome;
use crate::train::rank_net::{pairs, rank_net};
use crate::train::update::MICRO_BATCHES;
use std::sync::Mutex;

/// Tokens whose activations are held at once: enough rows to fill the kernels.
const TOKENS: usize = 1024;

/// Buffers that live as long as the training.
pub struct Slots {
    slots: Vec<Slot>,
    /// One for each thread, whose bits do not depend on what it held.
    tapes: Mutex<Vec<Tape>>,
    kept_bytes_max: usize,
}

#[derive(Default)]
struct Slot {
    logits: Vec<f32>,
    d_logits: Vec<f32>,
    gradient: Vec<f32>,
    loss: f64,
    flops: u64,
}

impl Slots {
    /// Buffers for so many parameters; a thread keeps at most so much of its forward passes.
    pub fn new(parameters: usize, kept_bytes_max: usize) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        slots.resize_with(MICRO_BATCHES, Slot::default);
        slots.iter_mut().for_each(|slot| slot.gradient.resize(parameters, 0.0));
        Self { slots, tapes: Mutex::default(), kept_bytes_max }
    }

    /// Computes the gradient of a batch's mean loss, part by part.
    pub fn learn(
        &mut self,
        device: &dyn Backend,
        learner: &Learner,
        batch: &[&[Example]],
        threads: usize,
    ) -> StepOutcome {
        let all = batch.iter().flat_map(|moment| moment.iter());
        let positions: u64 = all.map(|example| pairs(&example.relevance)).sum();
        let scale = 1.0 / positions.max(1) as f32;
        let share = batch.len().div_ceil(MICRO_BATCHES);
        let Self { slots, tapes, kept_bytes_max } = self;
        let tapes: &Mutex<Vec<Tape>> = tapes;
        for_each(threads, slots, |i, slot| {
            let first = batch.len().min(i * share);
            let part = batch[first..batch.len().min(first + share)].iter();
            // A prompt without pairs teaches nothing.
            let useful = part.flat_map(|m| m.iter()).filter(|e| pairs(&e.relevance) > 0);
            let mut tape = tapes.lock().ok().and_then(|mut tapes| tapes.pop()).unwrap_or_default();
            let with = (&mut tape, *kept_bytes_max);
            slot.learn(device, learner, &useful.collect::<Vec<&Example>>(), scale, with);
            if let Ok(mut tapes) = tapes.lock() {
                tapes.push(tape);
            }
        });
        StepOutcome {
            loss: self.slots.iter().map(|slot| slot.loss).sum(),
            positions,
            flops: self.slots.iter().map(|slot| slot.flops).sum(),
        }
    }

    /// The parts' gradients.
    pub fn gradients(&mut self) -> Vec<&mut [f32]> {
        self.slots.iter_mut().map(|slot| &mut slot.gradient[..]).collect()
    }
}

impl Slot {
    /// Adds the gradient of these prompts to the slot's.
    fn learn(
        &mut self,
        device: &dyn Backend,
        learner: &Learner,
        all: &[&Example],
        scale: f32,
        (tape, kept_bytes_max): (&mut Tape, usize),
    ) {
        (self.loss, self.flops) = (0.0, 0);
        let labels = learner.labels().len();
        let prompts = learner.prompts(all.iter().map(|example| &example.tokens[..]));
        let mut done = 0;
        while done < all.len() {
            let count = fitting(&prompts[done..], TOKENS);
            let batch = Batch::of(&prompts[done..done + count]);
            self.logits.resize(count * labels, 0.0);
            learner.forward(device, &batch, kept_bytes_max, tape, &mut self.logits);
            self.d_logits.clear();
            self.d_logits.resize(count * labels, 0.0);
            let rows = self.logits.chunks(labels).zip(self.d_logits.chunks_mut(labels));
            for (example, (logits, d_logits)) in all[done..done + count].iter().zip(rows) {
                let count = example.relevance.len();
                let d_scores = &mut d_logits[..count];
                self.loss += rank_net(&logits[..count], &example.relevance, scale, d_scores);
            }
            learner.backward(device, &batch, tape, &self.d_logits, &mut self.gradient);
            self.flops += learner.flops(batch.tokens(), batch.prompts());
            done += count;
        }
    }
}
