//! Reading on: what a decoder has read of a prompt is kept, and computed once however often the
//! prompt is asked about with something else at its end.
//!
//! The logits are those of [`Decoder::logits`] over whole prompts, bit for bit: keys and values are
//! kept in f32, as the pass computes them, and a query's sums depend on what it sees alone.

use super::batch::{SHARED_MIN, alike};
use super::pass::Within;
use super::resident::{PAGE, Page, Shelf};
use super::{Activations, BATCH_TOKENS, Batch, DAMAGED, Decoder, DecoderConfig, Prompt, Table};
use crate::device::parallel::for_each;
use crate::device::{Backend, GroupedAttention, Kept, KeptAttention};
use crate::error::{Error, Result};
use std::sync::Arc;

/// Why what is kept is of no use.
pub(super) const FOREIGN: &str =
    "what is kept of it is another model's: expected this one's or nothing";

/// What a decoder keeps of the tokens it has read: each layer's keys, turned by their positions,
/// and values. Empty to begin with; a clone is another way to go on from the same tokens.
#[derive(Clone, Debug, Default)]
pub struct KeyValues {
    pub(super) tokens: Vec<u32>,
    pub(super) adapter: Option<u32>,
    /// On the processor.
    pub(super) layers: Vec<Kept>,
    /// On a device.
    pub(super) pages: Vec<Page>,
}

/// A prompt that is asked about: all its tokens, and what is kept of tokens that were read before,
/// by the same decoder.
pub struct Ask<'a> {
    /// The whole prompt.
    pub prompt: &'a Prompt,
    /// What is kept; of the whole prompt afterwards, or on a device without room for it nothing.
    pub kept: &'a mut KeyValues,
}

impl KeyValues {
    /// The tokens that have been read.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The adapter that they were read with.
    pub fn adapter(&self) -> Option<u32> {
        self.adapter
    }

    /// What it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().map(Kept::bytes).sum::<usize>();
        let pages = self.pages.iter().map(Page::bytes).sum::<usize>();
        layers + pages + self.tokens.capacity() * size_of::<u32>()
    }

    /// Forgets all but the first tokens.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens.truncate(tokens);
        self.layers.iter_mut().for_each(|layer| layer.truncate(tokens));
        self.pages.truncate(tokens.div_ceil(PAGE));
    }

    /// How many tokens of a prompt need not be computed again: those that it begins with as these,
    /// and never its last one, whose logits are asked for.
    pub fn shared(&self, prompt: &Prompt) -> usize {
        if self.adapter != prompt.adapter {
            return 0;
        }
        let pairs = self.tokens.iter().zip(&prompt.tokens);
        let most = prompt.tokens.len().saturating_sub(1);
        pairs.take(most).take_while(|(kept, token)| kept == token).count()
    }

    /// Whether a decoder of these dimensions has read it on the processor.
    fn fits(&self, config: &DecoderConfig) -> bool {
        let fits = |layer: &Kept| layer.fits(config.shared, config.width);
        let layers = self.layers.len();
        let here = self.pages.is_empty();
        here && (layers == 0 || layers == config.layers && self.layers.iter().all(fits))
    }

    /// Whether it is on a device's shelf.
    pub(super) fn is_of(&self, shelf: Option<&Arc<Shelf>>) -> bool {
        let of = |page: &Page| shelf.is_some_and(|shelf| page.is_of(shelf));
        self.layers.is_empty() && self.pages.iter().all(of)
    }
}

/// How much of a prompt is there before it is computed.
#[derive(Clone, Copy)]
struct Known {
    tokens: usize,
    /// Whether they are those of the prompt before, in the same piece.
    lent: bool,
}

/// What is known of a prompt that follows others.
fn known(ask: &Ask<'_>, before: Option<&Ask<'_>>) -> Known {
    let own = ask.kept.shared(ask.prompt);
    match before.map_or(0, |before| alike(before.prompt, ask.prompt)) {
        tokens if tokens >= own + SHARED_MIN => Known { tokens, lent: true },
        _ => Known { tokens: own, lent: false },
    }
}

/// How many of the first prompts have no more tokens left to compute than this; at least one.
fn fitting(asks: &[Ask<'_>], tokens_max: usize) -> usize {
    let mut tokens = 0;
    let fits = asks.iter().enumerate().take_while(|(at, ask)| {
        let before = at.checked_sub(1).map(|before| &asks[before]);
        tokens += ask.prompt.tokens.len() - known(ask, before).tokens;
        tokens <= tokens_max
    });
    fits.count().max(1)
}

impl Decoder {
    /// The last-position logits of each prompt, as [`Decoder::logits`] and with the same bits. What
    /// a prompt begins with as what is kept for it, or as the prompt before it, is not computed
    /// again; the rest is, and is kept. What was kept beyond is dropped.
    ///
    /// Errors: [`Error::Model`] for a prompt that [`Decoder::refusal`] refuses, for what another
    /// model has kept, and for logits that are not finite, with the prompt's number from 1. Before
    /// the last nothing is changed.
    pub fn logits_on(
        &self,
        device: &dyn Backend,
        asks: &mut [Ask<'_>],
        table: &Table,
        threads: usize,
    ) -> Result<Vec<f32>> {
        let number = |at: usize, why: String| Error::Model(format!("prompt {}: {why}", at + 1));
        for (at, ask) in asks.iter().enumerate() {
            if let Some(why) = self.refusal(ask.prompt) {
                return Err(number(at, why));
            }
            if !ask.kept.fits(&self.config) {
                return Err(number(at, FOREIGN.to_owned()));
            }
        }
        let left = |ask: &Ask<'_>| ask.prompt.tokens.len() - ask.kept.shared(ask.prompt);
        let tokens: usize = asks.iter().map(left).sum();
        let budget = BATCH_TOKENS.min(tokens.div_ceil(threads.max(1)));
        let mut out = vec![0.0; asks.len() * table.outputs()];
        let (mut asks_left, mut out_left) = (asks, &mut out[..]);
        let mut pieces = Vec::new();
        while !asks_left.is_empty() {
            let count = fitting(asks_left, budget);
            let (some, asks_after) = asks_left.split_at_mut(count);
            let (to, out_after) = out_left.split_at_mut(count * table.outputs());
            pieces.push((some, to));
            (asks_left, out_left) = (asks_after, out_after);
        }
        for_each(threads, &mut pieces, |_, (asks, out)| self.read_on(device, asks, table, out));
        match out.iter().position(|logit| !logit.is_finite()) {
            None => Ok(out),
            Some(at) => Err(number(at / table.outputs(), DAMAGED.to_owned())),
        }
    }

    /// The logits of prompts that are computed together.
    fn read_on(&self, device: &dyn Backend, asks: &mut [Ask<'_>], table: &Table, out: &mut [f32]) {
        let (mut batch, mut lent) = (Batch::empty(), Vec::with_capacity(asks.len()));
        for at in 0..asks.len() {
            let known = known(&asks[at], at.checked_sub(1).map(|before| &asks[before]));
            lent.push(known.lent.then_some(known.tokens));
            batch.end(asks[at].prompt, known.tokens, None);
        }
        for (ask, lent) in asks.iter_mut().zip(&lent) {
            let (prompt, kept) = (ask.prompt, &mut *ask.kept);
            kept.truncate(if lent.is_some() { 0 } else { kept.shared(prompt) });
            kept.layers.resize_with(self.config.layers, Kept::default);
            kept.tokens.clone_from(&prompt.tokens);
            kept.adapter = prompt.adapter;
        }
        // Angles of these positions alone: of a token far on, all those before would cost more.
        let angles = self.config.rope.table(self.config.width, &batch.positions);
        batch.count_positions();
        let with = &mut Activations { angles, ..Activations::default() };
        let kept = asks.iter_mut().map(|ask| &mut *ask.kept).collect();
        self.forward_within(device, &batch, table, with, out, &mut Reading { kept, lent });
    }
}

/// A pass that goes on from what is kept, and keeps what it computes.
struct Reading<'a> {
    kept: Vec<&'a mut KeyValues>,
    /// How many tokens each prompt has from the one before it.
    lent: Vec<Option<usize>>,
}

impl Within for Reading<'_> {
    fn attend(&mut self, device: &dyn Backend, l: usize, call: GroupedAttention<'_>) {
        let GroupedAttention { shape, qkv, queries, out, .. } = call;
        for (at, rows) in shape.offsets.windows(2).enumerate() {
            if let Some(tokens) = self.lent[at] {
                let mut lent = self.kept[at - 1].layers[l].clone();
                lent.truncate(tokens);
                self.kept[at].layers[l] = lent;
            }
            let rows = rows[0] as usize * shape.row()..rows[1] as usize * shape.row();
            self.kept[at].layers[l].append(&shape, &qkv[rows]);
        }
        let kept: Vec<&Kept> = self.kept.iter().map(|kept| &kept.layers[l]).collect();
        device.kept_attention(KeptAttention { shape, qkv, queries, kept: &kept, out });
    }
}
