//! What a step learns from: a pure function of the seed and the step.

use super::order::Order;
use super::settings::{Loss, TrainSettings};
use crate::model::retriever::Tokens;
use crate::types::{ItemId, Sequence, mix64};

/// Part of a user's training items that fits the model: `items[start..end]`, where each item but
/// the last is an input and each but the first a target.
#[derive(Clone, Copy, Debug)]
struct Window {
    sequence: u32,
    start: u32,
    end: u32,
}

/// The windows of all users, and what batches are made of.
pub struct Batches<'a> {
    settings: &'a TrainSettings,
    sequences: &'a [Sequence],
    windows: Vec<Window>,
    /// Every training item of every user: a uniform draw is a draw by popularity.
    popular: Vec<ItemId>,
    /// ln of how often an item is expected among a position's negatives.
    pub log_q: Vec<f32>,
    items: usize,
    /// Of the windows.
    pub order: Order,
}

/// A part of a batch whose gradient is computed by one thread.
#[derive(Default)]
pub struct MicroBatch {
    /// The inputs.
    pub tokens: Tokens,
    /// The next item of each input.
    pub targets: Vec<u32>,
    /// For the sampled losses: each target with its negatives.
    pub candidates: Vec<u32>,
    /// Which items the user at hand has interacted with; all false between users.
    seen: Vec<bool>,
}

impl<'a> Batches<'a> {
    /// Users with fewer than two training items are left out.
    pub fn new(settings: &'a TrainSettings, items: usize, sequences: &'a [Sequence]) -> Self {
        let mut windows = Vec::new();
        for (s, sequence) in sequences.iter().enumerate() {
            let mut end = sequence.train;
            while end >= 2 {
                let start = (end - 1).saturating_sub(settings.length_max as u32);
                windows.push(Window { sequence: s as u32, start, end });
                // The next window's last target is this one's first input.
                end = if settings.sliding && start > 0 { start + 1 } else { 0 };
            }
        }
        let mut batches = Self {
            settings,
            sequences,
            order: Order::new(settings.seed, settings.batch, windows.len()),
            windows,
            popular: Vec::new(),
            log_q: Vec::new(),
            items,
        };
        if let Loss::SampledSoftmax { negatives } = settings.loss {
            let learned =
                sequences.iter().map(|sequence| &sequence.items[..sequence.train as usize]);
            batches.popular = learned.flatten().copied().collect();
            let mut counts = vec![0.0f64; items];
            batches.popular.iter().for_each(|item| counts[*item as usize] += 1.0);
            let draws = negatives as f64 / batches.popular.len().max(1) as f64;
            // An item nobody has is never drawn and never a target: its value is not read.
            batches.log_q = counts.iter().map(|n| (n.max(1.0) * draws).ln() as f32).collect();
        }
        batches
    }

    /// How many positions these places of the epoch's order teach.
    pub fn positions(&self, places: std::ops::Range<usize>) -> usize {
        let window = |place| self.windows[self.order.example(place) as usize];
        places.map(window).map(|window| (window.end - window.start - 1) as usize).sum()
    }

    /// Fills a micro-batch with these places of the epoch's order.
    pub fn fill(&self, step: u64, places: std::ops::Range<usize>, to: &mut MicroBatch) {
        to.tokens.clear();
        to.targets.clear();
        to.candidates.clear();
        to.tokens.dropout = self.settings.dropout;
        for place in places {
            let number = self.order.example(place);
            let window = self.windows[number as usize];
            let sequence = &self.sequences[window.sequence as usize];
            let items = &sequence.items[window.start as usize..window.end as usize];
            to.tokens.push(&items[..items.len() - 1], self.settings.length_max);
            to.targets.extend(&items[1..]);
            let key = mix64(mix64(self.settings.seed ^ mix64(step)) ^ u64::from(number));
            to.tokens.keys.extend((1..items.len() as u64).map(|position| mix64(key ^ position)));
            if self.settings.loss.negatives().is_some() {
                self.draw(sequence, &items[1..], to);
            }
        }
    }

    /// Adds each target and its negatives, drawn from the position's key.
    fn draw(&self, sequence: &Sequence, targets: &[ItemId], to: &mut MicroBatch) {
        /// Negatives that the user has seen are drawn again, but not for ever.
        const DRAWS_MAX: u64 = 32;
        let negatives = self.settings.loss.negatives().unwrap_or(0);
        let learned = &sequence.items[..sequence.train as usize];
        to.seen.resize(self.items, false);
        learned.iter().for_each(|item| to.seen[*item as usize] = true);
        let keys = &to.tokens.keys[to.tokens.keys.len() - targets.len()..];
        for (target, key) in targets.iter().zip(keys) {
            let mut draw = mix64(key ^ 0x6e65_6761_7469_7665);
            to.candidates.push(*target);
            for _ in 0..negatives {
                let mut below = |bound: usize| {
                    draw = mix64(draw);
                    (((draw >> 32) * bound as u64) >> 32) as usize
                };
                let negative = if self.popular.is_empty() {
                    let mut draws = (0..DRAWS_MAX).map(|_| below(self.items));
                    draws.find(|item| !to.seen[*item]).unwrap_or(0)
                } else {
                    self.popular[below(self.popular.len())] as usize
                };
                to.candidates.push(negative as u32);
            }
        }
        learned.iter().for_each(|item| to.seen[*item as usize] = false);
    }
}
