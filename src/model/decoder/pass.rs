//! A decoder's forward pass, as a list of kernel calls.
//!
//! ```text
//! stream = embedding
//! stream = stream + output(attention(rotary(qkv(norm(stream)))))      each layer
//! stream = stream + down(gated(gate_up(norm(stream))))
//! logits = table · norm(stream)                                       at each prompt's last token
//! ```
//!
//! In the last layer only each prompt's last token asks, and only its row goes on: nothing else
//! reaches the logits. A pass keeps what its layers compute, all of it if there is a place for each
//! layer, or else that of the last one only.

use super::{Batch, Decoder, DecoderConfig, Site, Table};
use crate::device::shape::{GatedShape, GroupedShape, LinearShape, NormShape};
use crate::device::{
    Backend, Gated, GroupedAttention, Lookup, LoraLinear, Queries, RmsNorm, Rotary,
};

/// The buffers of a pass. Reusable.
pub struct Activations {
    /// Cosines and sines of the positions seen so far.
    pub(super) angles: Vec<f32>,
    pub(super) stream: Vec<f32>,
    /// Layer l leaves what it computes in place l, modulo their number.
    pub(super) layers: Vec<LayerActivations>,
    pub(super) last_normed: Normed,
    pub(super) replaced: Vec<f32>,
}

impl Default for Activations {
    fn default() -> Self {
        let layers = vec![LayerActivations::default()];
        let (angles, stream, replaced) = (Vec::new(), Vec::new(), Vec::new());
        Self { angles, stream, layers, last_normed: Normed::default(), replaced }
    }
}

/// What a layer computes, as its backward pass reads it.
#[derive(Default)]
pub struct LayerActivations {
    pub(super) attention_normed: Normed,
    pub(super) qkv: Vec<f32>,
    pub(super) attention_statistics: Vec<f32>,
    pub(super) mixed: Vec<f32>,
    pub(super) attended: Vec<f32>,
    pub(super) forward_normed: Normed,
    pub(super) gate_up: Vec<f32>,
    pub(super) gated: Vec<f32>,
}

/// What a norm leaves.
#[derive(Default)]
pub struct Normed {
    pub(super) rows: Vec<f32>,
    pub(super) statistics: Vec<f32>,
}

/// A buffer of at least this length; what it held does not matter.
pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// What happens within a pass besides.
pub(super) trait Within {
    /// Sees what goes into a layer.
    fn enter(&mut self, _l: usize, _stream: &[f32]) {}

    /// Mixes the values of a layer.
    fn attend(&mut self, device: &dyn Backend, _l: usize, call: GroupedAttention<'_>) {
        device.grouped_attention(call);
    }
}

/// Nothing.
impl Within for () {}

impl Decoder {
    /// Computes the logits (prompts, outputs of the table) of a batch that is not empty.
    pub fn forward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        table: &Table,
        with: &mut Activations,
        out: &mut [f32],
    ) {
        self.forward_within(device, batch, table, with, out, &mut ());
    }

    /// As [`Decoder::forward`], with more.
    pub(super) fn forward_within(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        table: &Table,
        with: &mut Activations,
        out: &mut [f32],
        within: &mut dyn Within,
    ) {
        let (tokens, hidden) = (batch.tokens.len(), self.config.hidden);
        self.config.rope.extend(self.config.width, batch.longest, &mut with.angles);
        let stream = sized(&mut with.stream, tokens * hidden);
        self.look_up(device, batch, stream);
        for (l, layer) in self.layers.iter().enumerate() {
            within.enter(l, &with.stream[..tokens * hidden]);
            let last = l + 1 == self.layers.len();
            self.layer(device, batch, l, with, within);
            let rows = if last { batch.prompts() } else { tokens };
            let chosen = if last { &batch.by_prompt } else { &batch.by_token };
            let place = l % with.layers.len();
            let LayerActivations { gated, attended, .. } = &with.layers[place];
            let gated = &gated[..rows * self.config.inner];
            let (attended, stream) = (&attended[..rows * hidden], &mut with.stream);
            layer.down.apply(device, gated, chosen, attended, &mut stream[..rows * hidden]);
        }
        let rows = batch.prompts();
        let stream = &with.stream[..rows * hidden];
        self.norm(device, stream, &self.last_norm, &mut with.last_normed);
        let normed = &with.last_normed.rows[..rows * hidden];
        table.apply(device, normed, &batch.by_prompt, &mut with.replaced, out);
    }

    /// Each token's embedding: its adapter's, if that has one.
    fn look_up(&self, device: &dyn Backend, batch: &Batch, stream: &mut [f32]) {
        device.lookup(Lookup { table: self.embeddings(), tokens: &batch.tokens, out: stream });
        let chosen = batch.tokens.iter().zip(&batch.by_token);
        for ((token, adapter), row) in chosen.zip(stream.chunks_exact_mut(self.config.hidden)) {
            if let Some(rows) = adapter.and_then(|adapter| self.rows[adapter as usize].as_ref()) {
                rows.read(*token, row);
            }
        }
    }

    /// Dimensions of a batch's attention.
    pub(super) fn attention_shape<'a>(&self, batch: &'a Batch) -> GroupedShape<'a> {
        let DecoderConfig { heads, shared, width, .. } = self.config;
        GroupedShape { offsets: &batch.offsets, parents: &batch.parents, heads, shared, width }
    }

    /// A layer from its input in `stream` up to what its last product multiplies, in `gated`. In
    /// the last layer, `stream` begins with the prompts' last rows afterwards.
    pub(super) fn layer(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        l: usize,
        with: &mut Activations,
        within: &mut dyn Within,
    ) {
        let (layer, last) = (&self.layers[l], l + 1 == self.layers.len());
        let (tokens, hidden, inner) = (batch.tokens.len(), self.config.hidden, self.config.inner);
        let shape = self.attention_shape(batch);
        let Activations { angles, stream, layers, .. } = with;
        let place = l % layers.len();
        let with = &mut layers[place];
        let stream = &mut stream[..tokens * hidden];
        self.norm(device, stream, &layer.attention_norm, &mut with.attention_normed);
        let normed = &with.attention_normed.rows[..tokens * hidden];
        let qkv = sized(&mut with.qkv, tokens * shape.row());
        layer.qkv.apply(device, normed, &batch.by_token, &[], qkv);
        device.rotary(Rotary { shape, positions: &batch.positions, table: angles, qkv });
        let (rows, queries, chosen) = match last {
            true => (batch.prompts(), Queries::Last, &batch.by_prompt),
            false => (tokens, Queries::All, &batch.by_token),
        };
        if last {
            for (p, last) in batch.lasts.iter().enumerate() {
                let from = *last as usize * hidden;
                stream.copy_within(from..from + hidden, p * hidden);
            }
        }
        let mixed = sized(&mut with.mixed, rows * shape.queries());
        let statistics = sized(&mut with.attention_statistics, rows * shape.heads);
        let call = GroupedAttention { shape, qkv, queries, statistics, out: mixed };
        within.attend(device, l, call);
        let attended = sized(&mut with.attended, rows * hidden);
        layer.output.apply(device, mixed, chosen, &stream[..rows * hidden], attended);
        self.norm(device, attended, &layer.forward_norm, &mut with.forward_normed);
        let normed = &with.forward_normed.rows[..rows * hidden];
        let gate_up = sized(&mut with.gate_up, rows * 2 * inner);
        layer.gate_up.apply(device, normed, chosen, &[], gate_up);
        let gated = sized(&mut with.gated, rows * inner);
        let shape = GatedShape { rows, hidden: inner };
        device.gated(Gated { shape, x: gate_up, out: gated });
    }

    fn norm(&self, device: &dyn Backend, x: &[f32], weight: &[f32], to: &mut Normed) {
        let shape = NormShape { rows: x.len() / weight.len(), hidden: weight.len() };
        let (epsilon, statistics) = (self.config.epsilon, sized(&mut to.statistics, shape.rows));
        let out = sized(&mut to.rows, x.len());
        device.rms_norm(RmsNorm { shape, x, weight, epsilon, out, statistics });
    }
}

impl Site {
    /// The product with each row's adapter.
    pub(super) fn apply(
        &self,
        device: &dyn Backend,
        x: &[f32],
        chosen: &[Option<u32>],
        residual: &[f32],
        out: &mut [f32],
    ) {
        let (inputs, outputs) = (self.weight.inputs(), self.weight.outputs());
        device.lora_linear(LoraLinear {
            shape: LinearShape { rows: x.len() / inputs, inputs, outputs },
            x,
            weight: &self.weight,
            bias: &self.bias,
            adapters: &self.adapters,
            chosen,
            residual,
            out,
        });
    }
}
