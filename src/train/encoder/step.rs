//! The gradient of a batch of lessons, by micro-batches in a fixed order.

use super::lessons::{Lesson, Readings, check};
use super::loss::{POSITIVE, Pair, Rule, Vectors, loss};
use super::settings::EncoderSettings;
use crate::device::parallel::for_each;
use crate::device::{Backend, Cpu};
use crate::error::Result;
use crate::model::encoder::{Batch, Learner, Piece, Projected, ResidentLearner, Tape, Tower};
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
    /// Of all parameters, or of the heads alone, which are the last.
    gradient: Vec<f32>,
    work: Work,
    pooled: Vec<f32>,
    d_pooled: Vec<f32>,
    requests: Projected,
    items: Projected,
    d_requests: Vec<f32>,
    d_items: Vec<f32>,
    loss: f64,
    flops: u64,
}

/// What of a micro-batch is judged.
#[derive(Default)]
struct Work {
    /// An item that several requests were judged with is there once.
    items: Vec<u32>,
    pairs: Vec<Pair>,
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
    /// Buffers for so many parameters: all, or those of the heads.
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
        let rule = rule(settings, learner, lessons, batch);
        let Self { slots, tapes } = self;
        let chosen = shared(batch, slots.len());
        let tapes: &Mutex<Vec<Tape>> = tapes;
        for_each(settings.threads, slots, |i, slot| {
            let mut tape = tapes.lock().ok().and_then(|mut tapes| tapes.pop()).unwrap_or_default();
            let part = Part { learner, lessons, readings, chosen: chosen[i], rule };
            slot.learn(&Cpu, &part, &mut tape);
            if let Ok(mut tapes) = tapes.lock() {
                tapes.push(tape);
            }
        });
        self.outcome()
    }

    /// As [`Slots::learn`], with a base that learns on a device, all micro-batches at once: its
    /// gradient is added to there, and the slots' is that of the heads.
    ///
    /// Errors: those of the device.
    pub fn learn_there(
        &mut self,
        settings: &EncoderSettings,
        (learner, there): (&Learner, &mut ResidentLearner),
        (lessons, readings): (&[Lesson], &Readings),
        batch: &[u32],
    ) -> Result<StepOutcome> {
        let rule = rule(settings, learner, lessons, batch);
        let slots = &mut self.slots;
        let chosen = shared(batch, slots.len());
        let part = |i: usize| Part { learner, lessons, readings, chosen: chosen[i], rule };
        let mut pieces = Vec::new();
        let mut ends = vec![0];
        for (i, slot) in slots.iter_mut().enumerate() {
            slot.gather(&part(i));
            pieces.extend(part(i).pieces(&slot.work.items));
            ends.push(pieces.len());
        }
        let [_, hidden] = learner.encoder().heads().shape();
        let rows = |i: usize| ends[i] * hidden..ends[i + 1] * hidden;
        let flops = there.learn(learner, &pieces, &mut |pooled, d_pooled| {
            for_each(settings.threads, slots, |i, slot| {
                slot.pooled.clear();
                slot.pooled.extend_from_slice(&pooled[rows(i)]);
                slot.measure(&Cpu, &part(i));
            });
            for (i, slot) in slots.iter().enumerate() {
                d_pooled[rows(i)].copy_from_slice(&slot.d_pooled);
            }
        })?;
        Ok(StepOutcome { flops, ..self.outcome() })
    }

    fn outcome(&self) -> StepOutcome {
        let pairs: usize = self.slots.iter().map(|slot| slot.work.pairs.len()).sum();
        let loss: f64 = self.slots.iter().map(|slot| slot.loss).sum();
        StepOutcome {
            loss: loss * pairs as f64,
            positions: pairs as u64,
            flops: self.slots.iter().map(|slot| slot.flops).sum(),
        }
    }

    /// The sum of the parts' gradients, which are 0 afterwards.
    pub fn take_gradient(&mut self) -> Vec<f32> {
        let mut parts = self.gradients().into_iter();
        let mut sum = parts.next().map(|first| first.to_vec()).unwrap_or_default();
        for part in parts {
            sum.iter_mut().zip(part.iter()).for_each(|(sum, x)| *sum += x);
        }
        self.gradients().into_iter().for_each(|part| part.fill(0.0));
        sum
    }

    /// The parts' gradients.
    pub fn gradients(&mut self) -> Vec<&mut [f32]> {
        self.slots.iter_mut().map(|slot| &mut slot.gradient[..]).collect()
    }
}

/// What a batch is measured with.
fn rule(settings: &EncoderSettings, learner: &Learner, lessons: &[Lesson], batch: &[u32]) -> Rule {
    let items = || batch.iter().flat_map(|lesson| &lessons[*lesson as usize].items);
    let positives = items().filter(|(_, score)| *score >= POSITIVE).count();
    let (scale, bias) = learner.encoder().heads().scale_and_bias();
    Rule {
        loss: settings.loss,
        pair_share: 1.0 / items().count().max(1) as f64,
        contrast_share: f64::from(settings.negatives) / positives.max(1) as f64,
        scale,
        bias,
    }
}

/// The lessons of each micro-batch.
fn shared(batch: &[u32], parts: usize) -> Vec<&[u32]> {
    let share = batch.len().div_ceil(parts);
    let end = |part: usize| batch.len().min(part * share);
    (0..parts).map(|part| &batch[end(part)..end(part + 1)]).collect()
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

impl<'a> Part<'a> {
    fn lesson(&self, at: u32) -> &'a Lesson {
        &self.lessons[at as usize]
    }

    /// The texts of the requests, and then of some items; none where the base stays as it is.
    fn pieces(&self, items: &[u32]) -> Vec<&'a Piece> {
        let Readings::Tokens { requests: asked, items: told } = self.readings else {
            return Vec::new();
        };
        let told = items.iter().map(|at| &told[*at as usize]);
        // Where nothing is judged nothing is learned.
        let chosen = if items.is_empty() { &[] } else { self.chosen };
        chosen.iter().map(|at| &asked[*at as usize]).chain(told).collect()
    }
}

impl Slot {
    /// Adds the gradient of a micro-batch to the slot's.
    fn learn(&mut self, device: &dyn Backend, part: &Part<'_>, tape: &mut Tape) {
        self.flops = 0;
        self.gather(part);
        if self.work.items.is_empty() {
            return;
        }
        let batch = self.pool(device, part, tape);
        self.measure(device, part);
        if let Some(batch) = batch {
            part.learner.backward(device, &batch, tape, &self.d_pooled, &mut self.gradient);
            self.flops = part.learner.flops(&batch);
        }
    }

    /// Finds what of the micro-batch is judged.
    fn gather(&mut self, part: &Part<'_>) {
        self.loss = 0.0;
        let Work { items, pairs } = &mut self.work;
        items.clear();
        let judged = part.chosen.iter().flat_map(|at| &part.lesson(*at).items);
        items.extend(judged.map(|(item, _)| *item));
        items.sort_unstable();
        items.dedup();
        pairs.clear();
        for (request, at) in part.chosen.iter().enumerate() {
            pairs.extend(part.lesson(*at).items.iter().map(|(item, score)| {
                let item = items.binary_search(item).unwrap_or_default();
                Pair { request, item, score: *score }
            }));
        }
    }

    /// From the pooled rows to their gradient, if the base is trained, and to the heads'.
    fn measure(&mut self, device: &dyn Backend, part: &Part<'_>) {
        let heads = part.learner.encoder().heads();
        let [width, hidden] = heads.shape();
        let Self { work, pooled, d_pooled, requests: f, items: g, d_requests, d_items, .. } = self;
        d_pooled.clear();
        if work.items.is_empty() {
            return;
        }
        let (requests, count) = (part.chosen.len(), work.items.len());
        let (asked, told) = pooled.split_at(requests * hidden);
        heads.project(device, Tower::Request, asked, f);
        heads.project(device, Tower::Item, told, g);
        for (d, rows) in [(&mut *d_requests, requests), (&mut *d_items, count)] {
            d.clear();
            d.resize(rows * width, 0.0);
        }
        let mut vectors =
            Vectors { width, f: &f.units, g: &g.units, d_f: d_requests, d_g: d_items };
        let (total, d_logit) = loss(&part.rule, &work.pairs, &mut vectors);
        self.loss = total;
        let first = self.gradient.len() - heads.values().len();
        let gradient = &mut self.gradient[first..];
        let logit = gradient.len() - d_logit.len();
        for (to, d) in gradient[logit..].iter_mut().zip(d_logit) {
            *to += d as f32;
        }
        if matches!(part.readings, Readings::Tokens { .. }) {
            d_pooled.resize(pooled.len(), 0.0);
        }
        let middle = d_pooled.len().min(requests * hidden);
        let (d_asked, d_told) = d_pooled.split_at_mut(middle);
        for (of, d, d_pooled) in [
            ((Tower::Request, asked, &*f), d_requests, d_asked),
            ((Tower::Item, told, &*g), d_items, d_told),
        ] {
            heads.project_backward(device, of, d, gradient, d_pooled);
        }
    }

    /// Puts the pooled rows of the micro-batch's requests and then of its items into `pooled`.
    /// Returns the batch that gave them, if the base is trained.
    fn pool(&mut self, device: &dyn Backend, part: &Part<'_>, tape: &mut Tape) -> Option<Batch> {
        let [_, hidden] = part.learner.encoder().heads().shape();
        let items = &self.work.items;
        self.pooled.resize((part.chosen.len() + items.len()) * hidden, 0.0);
        match part.readings {
            Readings::Rows { requests: all_requests, items: all_items } => {
                let chosen = part.chosen.iter().map(|at| (all_requests, *at as usize));
                let chosen = chosen.chain(items.iter().map(|at| (all_items, *at as usize)));
                for ((from, at), to) in chosen.zip(self.pooled.chunks_exact_mut(hidden)) {
                    to.copy_from_slice(&from[at * hidden..(at + 1) * hidden]);
                }
                None
            }
            Readings::Tokens { .. } => {
                let batch = Batch::of(part.pieces(items).into_iter());
                part.learner.forward(device, &batch, tape, &mut self.pooled);
                Some(batch)
            }
        }
    }
}
