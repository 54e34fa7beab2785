//! A decoder's forward pass on a device, as launches: the same steps as on the processor. Where a
//! layer's product is followed by something, one kernel adds the adapters and does that as well.

use super::heads::Heads;
use super::{Layer, Multiplied, Resident};
use crate::device::Queries;
use crate::device::cuda::kernels::{
    CandidateLogits, GroupedAttention, Indices, Lookup, LoraGated, LoraQkv, LoraResidual, LoraSums,
    Paths, RmsNorm, Rows,
};
use crate::device::cuda::{Bf16, Buffer, Driver, Product};
use crate::device::shape::{GroupedShape, NormShape};
use crate::error::Result;
use crate::model::decoder::{Batch, DecoderConfig};

/// What a pass computes in, for batches of some tokens: taken once.
pub struct Room {
    stream: Buffer<f32>,
    /// The rows that go on after the last layer's attention.
    last: Buffer<f32>,
    normed: Buffer<Bf16>,
    /// What products leave, before adapters are added.
    sums: Buffer<Bf16>,
    qkv: Buffer<Bf16>,
    statistics: Buffer<f32>,
    mixed: Buffer<Bf16>,
    gated: Buffer<Bf16>,
}

impl Room {
    /// Takes it. `columns` are those of the widest product.
    pub fn new(
        driver: &dyn Driver,
        config: &DecoderConfig,
        heads: Heads,
        columns: usize,
        tokens: usize,
    ) -> Result<Self> {
        let DecoderConfig { hidden, inner, .. } = *config;
        let queries = config.heads * heads.wide;
        Ok(Self {
            stream: Buffer::new(driver, tokens * hidden)?,
            last: Buffer::new(driver, tokens * hidden)?,
            normed: Buffer::new(driver, tokens * hidden)?,
            sums: Buffer::new(driver, tokens * columns)?,
            qkv: Buffer::new(driver, tokens * (queries + 2 * config.shared * heads.wide))?,
            statistics: Buffer::new(driver, tokens * config.heads)?,
            mixed: Buffer::new(driver, tokens * queries)?,
            gated: Buffer::new(driver, tokens * inner)?,
        })
    }
}

/// What launches need to know of a batch, on the device: made while the device computes the batch
/// before.
pub struct Placed {
    tokens: usize,
    prompts: usize,
    rows: Rows,
    positions: Indices,
    by_token: Indices,
    by_prompt: Indices,
    lasts: Indices,
    /// Which list of candidates each prompt has.
    lists: Indices,
    all: Paths,
    ends: Paths,
}

/// The rows of a layer that go on after its attention.
#[derive(Clone, Copy)]
struct After<'a> {
    count: usize,
    chosen: &'a Indices,
    paths: &'a Paths,
    /// Which rows of the stream they are; none for all of them.
    from: Option<&'a Indices>,
    stream: &'a Buffer<f32>,
}

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
        let (tokens, prompts) = (placed.tokens, placed.prompts);
        let out = &room.stream.slice(0..tokens * hidden)?;
        let (table, own) = (&weights.embeddings, weights.own.buffer.as_ref());
        driver.launch(&Lookup { hidden, table, own, rows: &placed.rows, out }.launch()?)?;
        for (l, layer) in weights.layers.iter().enumerate() {
            let after = match l + 1 == weights.layers.len() {
                true => After {
                    count: prompts,
                    chosen: &placed.by_prompt,
                    paths: &placed.ends,
                    from: Some(&placed.lasts),
                    stream: &room.last.slice(0..prompts * hidden)?,
                },
                false => After {
                    count: tokens,
                    chosen: &placed.by_token,
                    paths: &placed.all,
                    from: None,
                    stream: out,
                },
            };
            self.attend(room, placed, layer, &after)?;
            self.go_on(room, layer, &after)?;
        }
        let last = &room.last.slice(0..prompts * hidden)?;
        let h = self.norm(room, last, &weights.last_norm)?;
        let logits = Buffer::new(driver, prompts * candidates)?;
        let (table, own) = match &weights.head {
            Some(head) => (head, None),
            None => (table, own),
        };
        let call = CandidateLogits {
            hidden,
            candidates,
            h: &h,
            table,
            own,
            rows: lists,
            lists: &placed.lists,
            logits: &logits,
        };
        driver.launch(&call.launch()?)?;
        Ok(logits)
    }

    /// Copies a batch's tables to the device, which may be computing another batch.
    pub(super) fn place(&self, batch: &Batch) -> Result<Placed> {
        let driver = &*self.driver;
        let shape = GroupedShape {
            offsets: &batch.offsets,
            parents: &batch.parents,
            heads: self.config.heads,
            shared: self.config.shared,
            width: self.heads.wide,
        };
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
            all: Paths::of(driver, &shape, Queries::All)?,
            ends: Paths::of(driver, &shape, Queries::Last)?,
        })
    }

    /// after.stream = its rows of the stream + output(attention(rotary(qkv(norm(stream))))).
    fn attend(&self, room: &Room, placed: &Placed, layer: &Layer, after: &After<'_>) -> Result<()> {
        let DecoderConfig { hidden, heads, shared, .. } = self.config;
        let (driver, wide, tokens) = (&*self.driver, self.heads.wide, placed.tokens);
        let stream = &room.stream.slice(0..tokens * hidden)?;
        let [qkv, output, ..] = &layer.sites;
        let normed = self.norm(room, stream, &layer.attention_norm)?;
        let sums = self.product(room, &normed, tokens, qkv)?;
        let out = &room.qkv.slice(0..tokens * qkv.adapters.outputs())?;
        let sums = qkv.sums(tokens, &sums, &placed.by_token);
        let (turned, table) = (heads + shared, &self.weights.angles);
        let positions = &placed.positions;
        let call = LoraQkv { sums, turned, width: wide, positions, table, out };
        driver.launch(&call.launch()?)?;
        let statistics = &room.statistics.slice(0..after.count * heads)?;
        let mixed = &room.mixed.slice(0..after.count * heads * wide)?;
        let (paths, scale) = (after.paths, self.heads.scale());
        let call = GroupedAttention { paths, scale, qkv: out, statistics, out: mixed };
        driver.launch(&call.launch()?)?;
        let sums = self.product(room, mixed, after.count, output)?;
        let sums = output.sums(after.count, &sums, after.chosen);
        let call = LoraResidual { sums, residual: stream, from: after.from, out: after.stream };
        driver.launch(&call.launch()?)
    }

    /// after.stream += down(gated(gate_up(norm(after.stream)))).
    fn go_on(&self, room: &Room, layer: &Layer, after: &After<'_>) -> Result<()> {
        let (driver, After { count, chosen, stream, .. }) = (&*self.driver, *after);
        let [.., gate_up, down] = &layer.sites;
        let normed = self.norm(room, stream, &layer.forward_norm)?;
        let sums = self.product(room, &normed, count, gate_up)?;
        let out = &room.gated.slice(0..count * self.config.inner)?;
        let sums = gate_up.sums(count, &sums, chosen);
        driver.launch(&LoraGated { sums, out }.launch()?)?;
        let sums = self.product(room, out, count, down)?;
        let sums = down.sums(count, &sums, chosen);
        driver.launch(&LoraResidual { sums, residual: stream, from: None, out: stream }.launch()?)
    }

    fn norm(
        &self,
        room: &Room,
        stream: &Buffer<f32>,
        weight: &Buffer<f32>,
    ) -> Result<Buffer<Bf16>> {
        let shape = NormShape { rows: stream.len() / weight.len(), hidden: weight.len() };
        let (epsilon, out) = (self.config.epsilon, room.normed.slice(0..stream.len())?);
        let (delta, statistics) = (None, None);
        let call = RmsNorm { shape, stream, delta, weight, epsilon, out: &out, statistics };
        self.driver.launch(&call.launch()?)?;
        Ok(out)
    }

    /// Rows times a weight and the downs of its adapters.
    fn product(
        &self,
        room: &Room,
        x: &Buffer<Bf16>,
        rows: usize,
        site: &Multiplied,
    ) -> Result<Buffer<Bf16>> {
        let with = &site.adapters;
        let sums = room.sums.slice(0..rows * with.columns())?;
        let size = [rows, with.columns(), with.inputs()];
        self.driver.product(&Product::new(size, x, with.weight(), &sums)?)?;
        Ok(sums)
    }
}

impl Multiplied {
    fn sums<'a>(
        &'a self,
        rows: usize,
        sums: &'a Buffer<Bf16>,
        chosen: &'a Indices,
    ) -> LoraSums<'a> {
        LoraSums { rows, sums, adapters: &self.adapters, chosen, bias: self.bias.as_ref() }
    }
}
