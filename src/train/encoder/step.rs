//! The gradient of a batch of lessons, by micro-batches in a fixed order.

use super::lessons::{Lesson, Readings, check};
use super::loss::{POSITIVE, Pair, Rule, Vectors, loss};
use super::settings::EncoderSettings;
use crate::device::parallel::for_each;
use crate::device::{Backend, Cpu};
use crate::error::Result;
use crate::model::encoder::{Batch, Learner, Piece, Projected, Tape, Tower};
use crate::train::course::StepOutcome;
use crate::train::update::MICRO_BATCHES;
use std::sync::Mutex;

/// Buffers that live as long as the training.
pub struct Slots {
    slots: Vec<Slot>,
    /// One for each thread, whose bits do not depend on what it held.
    tapes: Mutex<Vec<Tape>>,
}

#[derive(Default)]
struct Slot {
    gradient: Vec<f32>,
    pooled: Vec<f32>,
    d_pooled: Vec<f32>,
    requests: Projected,
    items: Projected,
    d_requests: Vec<f32>,
    d_items: Vec<f32>,
    loss: f64,
    flops: u64,
}

/// What a slot learns from.
struct Part<'a> {
    learner: &'a Learner,
    lessons: &'a [Lesson],
    readings: &'a Readings,
    /// The lessons of the micro-batch.
    chosen: &'a [u32],
    rule: Rule,
}

impl Slots {
    /// Buffers for so many parameters.
    pub fn new(parameters: usize) -> Self {
        Self::of(MICRO_BATCHES, parameters)
    }

    fn of(slots: usize, parameters: usize) -> Self {
        let mut all: Vec<Slot> = Vec::new();
        all.resize_with(slots, Slot::default);
        all.iter_mut().for_each(|slot| slot.gradient.resize(parameters, 0.0));
        Self { slots: all, tapes: Mutex::default() }
    }

    /// Computes the gradient of a batch's mean loss, part by part.
    pub fn learn(
        &mut self,
        settings: &EncoderSettings,
        learner: &Learner,
        (lessons, readings): (&[Lesson], &Readings),
        batch: &[u32],
    ) -> StepOutcome {
        let items = || batch.iter().flat_map(|lesson| &lessons[*lesson as usize].items);
        let pairs = items().count();
        let positives = items().filter(|(_, score)| *score >= POSITIVE).count();
        let (scale, bias) = learner.encoder().heads().scale_and_bias();
        let rule = Rule {
            loss: settings.loss,
            pair_share: 1.0 / pairs.max(1) as f64,
            contrast_share: f64::from(settings.negatives) / positives.max(1) as f64,
            scale,
            bias,
        };
        let Self { slots, tapes } = self;
        let share = batch.len().div_ceil(slots.len());
        let tapes: &Mutex<Vec<Tape>> = tapes;
        for_each(settings.threads, slots, |i, slot| {
            let first = batch.len().min(i * share);
            let chosen = &batch[first..batch.len().min(first + share)];
            let mut tape = tapes.lock().ok().and_then(|mut tapes| tapes.pop()).unwrap_or_default();
            slot.learn(&Cpu, &Part { learner, lessons, readings, chosen, rule }, &mut tape);
            if let Ok(mut tapes) = tapes.lock() {
                tapes.push(tape);
            }
        });
        let loss: f64 = self.slots.iter().map(|slot| slot.loss).sum();
        StepOutcome {
            loss: loss * pairs as f64,
            positions: pairs as u64,
            flops: self.slots.iter().map(|slot| slot.flops).sum(),
        }
    }

    /// The parts' gradients.
    pub fn gradients(&mut self) -> Vec<&mut [f32]> {
        self.slots.iter_mut().map(|slot| &mut slot.gradient[..]).collect()
    }
}

/// The mean loss of lessons that are one micro-batch, and its gradient, laid out like the learner's
/// parameters: what a step follows.
///
/// Errors: [`crate::error::Error::Input`] for lessons that are refused; those of the tokenizer.
pub fn gradient(
    settings: &EncoderSettings,
    learner: &Learner,
    lessons: &[Lesson],
    item_texts: &[String],
) -> Result<(f64, Vec<f32>)> {
    check(lessons, item_texts)?;
    let threads = settings.threads;
    let readings = Readings::of(learner, &settings.trained, lessons, item_texts, threads)?;
    let mut slots = Slots::of(1, learner.parameters().len());
    let batch: Vec<u32> = (0..lessons.len() as u32).collect();
    let outcome = slots.learn(settings, learner, (lessons, &readings), &batch);
    let gradient = slots.slots.swap_remove(0).gradient;
    Ok((outcome.loss / outcome.positions as f64, gradient))
}

impl Slot {
    /// Adds the gradient of a micro-batch to the slot's.
    fn learn(&mut self, device: &dyn Backend, part: &Part<'_>, tape: &mut Tape) {
        (self.loss, self.flops) = (0.0, 0);
        let lessons = |at: &u32| &part.lessons[*at as usize];
        // An item that several requests were judged with is encoded once.
        let mut items: Vec<u32> = part
            .chosen
            .iter()
            .flat_map(|at| lessons(at).items.iter().map(|(item, _)| *item))
            .collect();
        items.sort_unstable();
        items.dedup();
        if items.is_empty() {
            return;
        }
        let mut pairs = Vec::new();
        for (request, at) in part.chosen.iter().enumerate() {
            pairs.extend(lessons(at).items.iter().map(|(item, score)| {
                let item = items.binary_search(item).unwrap_or_default();
                Pair { request, item, score: *score }
            }));
        }
        let [width, hidden] = part.learner.encoder().heads().shape();
        let (requests, count) = (part.chosen.len(), items.len());
        let batch = self.pool(device, part, &items, tape);
        let Self { pooled, d_pooled, requests: f, items: g, d_requests, d_items, .. } = self;
        let heads = part.learner.encoder().heads();
        let (asked, told) = pooled[..(requests + count) * hidden].split_at(requests * hidden);
        heads.project(device, Tower::Request, asked, f);
        heads.project(device, Tower::Item, told, g);
        for (d, rows) in [(&mut *d_requests, requests), (&mut *d_items, count)] {
            d.clear();
            d.resize(rows * width, 0.0);
        }
        let mut vectors =
            Vectors { width, f: &f.units, g: &g.units, d_f: d_requests, d_g: d_items };
        let (total, d_logit) = loss(&part.rule, &pairs, &mut vectors);
        self.loss = total;
        let [_, heads_place, logit_place] = part.learner.groups();
        for (to, d) in self.gradient[logit_place].iter_mut().zip(d_logit) {
            *to += d as f32;
        }
        d_pooled.resize(if batch.is_some() { (requests + count) * hidden } else { 0 }, 0.0);
        let middle = d_pooled.len().min(requests * hidden);
        let (d_asked, d_told) = d_pooled.split_at_mut(middle);
        let gradient = &mut self.gradient[heads_place];
        for (of, d, d_pooled) in [
            ((Tower::Request, asked, &*f), d_requests, d_asked),
            ((Tower::Item, told, &*g), d_items, d_told),
        ] {
            heads.project_backward(device, of, d, gradient, d_pooled);
        }
        if let Some(batch) = batch {
            part.learner.backward(device, &batch, tape, d_pooled, &mut self.gradient);
            self.flops = part.learner.flops(&batch);
        }
    }

    /// Puts the pooled rows of the micro-batch's requests and then of its items into `pooled`.
    /// Returns the batch that gave them, if the base is trained.
    fn pool(
        &mut self,
        device: &dyn Backend,
        part: &Part<'_>,
        items: &[u32],
        tape: &mut Tape,
    ) -> Option<Batch> {
        let [_, hidden] = part.learner.encoder().heads().shape();
        let rows = part.chosen.len() + items.len();
        self.pooled.resize(rows * hidden, 0.0);
        match part.readings {
            Readings::Rows { requests: all_requests, items: all_items } => {
                let chosen = part.chosen.iter().map(|at| (all_requests, *at as usize));
                let chosen = chosen.chain(items.iter().map(|at| (all_items, *at as usize)));
                for ((from, at), to) in chosen.zip(self.pooled.chunks_exact_mut(hidden)) {
                    to.copy_from_slice(&from[at * hidden..(at + 1) * hidden]);
                }
                None
            }
            Readings::Tokens { requests: all_requests, items: all_items } => {
                let asked = part.chosen.iter().map(|at| &all_requests[*at as usize]);
                let told = items.iter().map(|at| &all_items[*at as usize]);
                let pieces: Vec<&Piece> = asked.chain(told).collect();
                let batch = Batch::of(pieces.into_iter());
                part.learner.forward(device, &batch, tape, &mut self.pooled);
                Some(batch)
            }
        }
    }
}
