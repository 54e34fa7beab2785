//! A decoder's forward pass on a device, as launches: the same steps as on the processor. Where a
//! layer's product is followed by something, one kernel adds the adapters and does that as well.

use super::room::{Place, Room};
use super::shelf::Shelf;
use super::{Layer, Resident};
use crate::device::cuda::kernels::{
    CandidateLogits, Dropout, GroupedAttention, Indices, Keep, Lookup, LoraGated, LoraQkv,
    LoraResidual, LoraRmsNorm, Paths, RmsNorm, Rows,
};
use crate::device::cuda::{Bf16, Buffer};
use crate::device::shape::{GroupedShape, NormShape};
use crate::error::Result;
use crate::model::decoder::{Batch, DecoderConfig};
use std::sync::Arc;

/// What launches need to know of a batch, on the device: made while the device computes the batch
/// before.
pub struct Placed {
    pub tokens: usize,
    pub prompts: usize,
    pub positions: Indices,
    rows: Rows,
    by_token: Indices,
    by_prompt: Indices,
    lasts: Indices,
    /// Which list of candidates each prompt has.
    lists: Indices,
    all: Paths,
    ends: Paths,
    /// Where the tokens' keys and values are kept, if they are.
    pub keep: Option<(Indices, Arc<Shelf>)>,
}

/// The rows of a layer that go on after its attention.
#[derive(Clone, Copy)]
pub struct After<'a> {
    pub count: usize,
    pub chosen: &'a Indices,
    paths: &'a Paths,
    /// Which rows of the stream they are; none for all of them.
    from: Option<&'a Indices>,
    /// Where keys and values are kept: the tokens' rows, and the layer's.
    keep: Option<(&'a Indices, &'a Buffer<Bf16>)>,
}

impl Placed {
    /// Those of layer `l` of some: in the last one only the prompts' last rows go on.
    pub fn after(&self, l: usize, layers: usize) -> After<'_> {
        let Self { tokens, prompts, by_token, by_prompt, lasts, all, ends, .. } = self;
        let keep = self.keep.as_ref().map(|(places, shelf)| (places, shelf.layer(l)));
        let (count, chosen, paths, from) = match l + 1 == layers {
            true => (*prompts, by_prompt, ends, Some(lasts)),
            false => (*tokens, by_token, all, None),
        };
        After { count, chosen, paths, from, keep }
    }
}

/// A norm's weight, and where the beginnings of two buffers get what comes out: rows, and
/// 1 / √(…) of each.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    pub weight: &'a Buffer<f32>,
    pub rows: &'a Buffer<Bf16>,
    pub scales: &'a Buffer<f32>,
}

/// The stream before a layer, after its attention, and after it: the same memory or not.
pub type Streams<'a> = [&'a Buffer<f32>; 3];

impl Resident {
    /// Has the device compute the logits (prompts, candidates) of a batch that is not empty and has
    /// no more tokens than there is room for. `lists` are the candidates' rows by adapter.
    pub(super) fn pass(
        &self,
        room: &mut Room,
        placed: &Placed,
        lists: &Rows,
        candidates: usize,
    ) -> Result<Buffer<f32>> {
        let (driver, weights, hidden) = (&*self.driver, &self.weights, self.config.hidden);
        let stream = &room.stream.slice(0..placed.tokens * hidden)?;
        let last = &room.last.slice(0..placed.prompts * hidden)?;
        self.look_up(placed, stream)?;
        let (place, layers) = (&room.place, &weights.layers);
        self.norm(stream, place.attention_norm(&layers[0].attention_norm))?;
        for (l, layer) in layers.iter().enumerate() {
            let next = layers.get(l + 1).map_or(&weights.last_norm, |next| &next.attention_norm);
            let ends = l + 1 == layers.len();
            let streams = if ends { [stream, last, last] } else { [stream; 3] };
            let next = Some(place.attention_norm(next));
            self.layer(place, placed, layer, placed.after(l, layers.len()), streams, next)?;
        }
        let h = &place.attention_normed.slice(0..last.len())?;
        let logits = Buffer::new(driver, placed.prompts * candidates)?;
        driver.launch(&self.head(placed, h, (lists, candidates), &logits).launch()?)?;
        Ok(logits)
    }

    /// Dimensions of a batch's attention.
    pub(super) fn shape<'a>(&self, batch: &'a Batch) -> GroupedShape<'a> {
        GroupedShape {
            offsets: &batch.offsets,
            parents: &batch.parents,
            heads: self.config.heads,
            shared: self.config.shared,
            width: self.heads.wide,
        }
    }

    /// Copies what launches need to know of a batch. `paths` are those of all queries and of the
    /// last ones.
    pub(super) fn place(&self, batch: &Batch, [all, ends]: [Paths; 2]) -> Result<Placed> {
        let driver = &*self.driver;
        let tokens = batch.tokens.iter().zip(&batch.by_token);
        let rows: Vec<i32> =
            tokens.map(|(token, adapter)| self.weights.own.row(*adapter, *token)).collect();
        let lists: Vec<u32> =
            batch.by_prompt.iter().map(|adapter| adapter.unwrap_or(self.adapters)).collect();
        Ok(Placed {
            tokens: batch.tokens(),
            prompts: batch.prompts(),
            rows: Rows::of(driver, &rows)?,
            positions: Indices::of(driver, &batch.positions)?,
            by_token: Indices::of_some(driver, &batch.by_token)?,
            by_prompt: Indices::of_some(driver, &batch.by_prompt)?,
            lasts: Indices::of(driver, &batch.lasts)?,
            lists: Indices::of(driver, &lists)?,
            all,
            ends,
            keep: None,
        })
    }

    /// out = the tokens' embeddings.
    pub(super) fn look_up(&self, placed: &Placed, out: &Buffer<f32>) -> Result<()> {
        let (hidden, weights) = (self.config.hidden, &self.weights);
        let (table, own) = (&weights.embeddings, weights.own.buffer.as_ref());
        let call = Lookup { hidden, table, own, rows: &placed.rows, out };
        self.driver.launch(&call.launch()?)
    }

    /// The logits of prompts' last rows, normalised.
    pub(super) fn head<'a>(
        &'a self,
        placed: &'a Placed,
        h: &'a Buffer<Bf16>,
        (rows, candidates): (&'a Rows, usize),
        logits: &'a Buffer<f32>,
    ) -> CandidateLogits<'a> {
        let (hidden, weights, lists) = (self.config.hidden, &self.weights, &placed.lists);
        let (table, own) = match &weights.head {
            Some(head) => (head, None),
            None => (&weights.embeddings, weights.own.buffer.as_ref()),
        };
        CandidateLogits { hidden, candidates, h, table, own, rows, lists, logits }
    }

    /// A layer whose first norm has been computed; and the one after it, if it is given.
    pub(super) fn layer(
        &self,
        place: &Place,
        placed: &Placed,
        layer: &Layer,
        after: After<'_>,
        [stream, attended, out]: Streams<'_>,
        next: Option<Norm<'_>>,
    ) -> Result<()> {
        self.attend(place, placed, layer, after, [stream, attended])?;
        self.go_on(place, layer, after, [attended, out], next)
    }

    /// attended = its rows of the stream + output(attention(rotary(qkv(normed)))), and its norm.
    fn attend(
        &self,
        place: &Place,
        placed: &Placed,
        layer: &Layer,
        after: After<'_>,
        [stream, attended]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let DecoderConfig { heads, shared, .. } = self.config;
        let (driver, wide, tokens) = (&*self.driver, self.heads.wide, placed.tokens);
        let After { count, chosen, paths, from, keep } = after;
        let [qkv, output, ..] = &layer.sites;
        let (normed, room) = (&place.attention_normed, Some(&place.quantised));
        let sums = &qkv.product(driver, (tokens, normed), room, &place.sums[0])?;
        let out = &place.qkv.slice(0..tokens * qkv.adapters.outputs())?;
        let sums = qkv.sums(tokens, sums, &placed.by_token);
        let (turned, table) = (heads + shared, &self.weights.angles);
        let positions = &placed.positions;
        let call = LoraQkv { sums, turned, width: wide, positions, table, out };
        driver.launch(&call.launch()?)?;
        if let Some((places, kept)) = keep {
            let numbers = [heads * wide, 2 * shared * wide];
            driver.launch(&Keep { numbers, qkv: out, places, kept }.launch()?)?;
        }
        let kept = keep.map(|(_, kept)| kept);
        let statistics = &place.statistics.slice(0..count * heads)?;
        let mixed = &place.mixed.slice(0..count * heads * wide)?;
        let scale = self.heads.scale();
        let (qkv, dropout) = (out, Dropout::NONE);
        let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: mixed };
        driver.launch(&call.launch()?)?;
        let sums = &output.product(driver, (count, mixed), room, &place.sums[1])?;
        let sums = output.sums(count, sums, chosen);
        self.follow(
            LoraResidual { sums, residual: stream, from, out: attended },
            Norm {
                weight: &layer.forward_norm,
                rows: &place.forward_normed,
                scales: &place.forward_scales,
            },
        )
    }

    /// out = attended + down(gated(gate_up(normed))), and the next norm.
    fn go_on(
        &self,
        place: &Place,
        layer: &Layer,
        After { count, chosen, .. }: After<'_>,
        [attended, out]: [&Buffer<f32>; 2],
        next: Option<Norm<'_>>,
    ) -> Result<()> {
        let driver = &*self.driver;
        let [.., gate_up, down] = &layer.sites;
        let (normed, room) = (&place.forward_normed, Some(&place.quantised));
        let sums = &gate_up.product(driver, (count, normed), room, &place.sums[2])?;
        let gated = &place.gated.slice(0..count * self.config.inner)?;
        let sums = gate_up.sums(count, sums, chosen);
        driver.launch(&LoraGated { sums, out: gated }.launch()?)?;
        let sums = &down.product(driver, (count, gated), room, &place.sums[3])?;
        let sums = down.sums(count, sums, chosen);
        let call = LoraResidual { sums, residual: attended, from: None, out };
        match next {
            Some(next) => self.follow(call, next),
            None => driver.launch(&call.launch()?),
        }
    }

    /// What a product adds to the stream, and the stream's norm, in one launch.
    fn follow(&self, x: LoraResidual<'_>, norm: Norm<'_>) -> Result<()> {
        let out = &norm.rows.slice(0..x.out.len())?;
        let statistics = Some(&norm.scales.slice(0..x.sums.rows)?);
        let (weight, epsilon) = (norm.weight, self.config.epsilon);
        let call = LoraRmsNorm { x, weight, epsilon, out, statistics };
        self.driver.launch(&call.launch()?)
    }

    /// The norm of the stream as it is.
    pub(super) fn norm(&self, x: &Buffer<f32>, norm: Norm<'_>) -> Result<Buffer<Bf16>> {
        let (weight, epsilon) = (norm.weight, self.config.epsilon);
        let shape = NormShape { rows: x.len() / weight.len(), hidden: weight.len() };
        let out = norm.rows.slice(0..x.len())?;
        let statistics = Some(&norm.scales.slice(0..shape.rows)?);
        let call = RmsNorm { shape, x, weight, epsilon, out: &out, statistics };
        self.driver.launch(&call.launch()?)?;
        Ok(out)
    }
}
