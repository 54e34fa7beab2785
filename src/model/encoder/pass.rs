//! A BERT's forward pass, as a list of kernel calls.
//!
//! ```text
//! stream = norm(token + position + kind)
//! middle = norm(stream + output(attention(qkv(stream))))        each layer
//! stream = norm(middle + narrow(gelu(widen(middle))))
//! pooled = mean over a text's tokens of stream
//! ```
//!
//! A pass keeps what its layers compute, all of it if there is a place for each layer, or else that
//! of the last one only.

use super::batch::Batch;
use super::bert::{Bert, Site};
use super::layout::Projection;
use crate::device::shape::{AttentionShape, LinearShape, NormShape, PointShape};
use crate::device::{Backend, Gelu, LayerNorm, LoraLinear, MutualAttention};

/// The buffers of a pass. Reusable.
#[derive(Default)]
pub struct Activations {
    /// Sums of the embeddings, and the statistics of their norm.
    pub(super) embedded: Vec<f32>,
    pub(super) first_statistics: Vec<f32>,
    /// What goes into layer l is in place l, modulo their number, which is at least 2.
    pub(super) streams: Vec<Vec<f32>>,
    /// Layer l leaves what it computes in place l, modulo their number.
    pub(super) layers: Vec<LayerActivations>,
}

/// What a layer computes, as its backward pass reads it.
#[derive(Default)]
pub(super) struct LayerActivations {
    pub qkv: Vec<f32>,
    pub attention_statistics: Vec<f32>,
    pub mixed: Vec<f32>,
    pub attended: Vec<f32>,
    pub attended_statistics: Vec<f32>,
    pub middle: Vec<f32>,
    pub wide: Vec<f32>,
    pub active: Vec<f32>,
    pub narrowed: Vec<f32>,
    pub narrowed_statistics: Vec<f32>,
}

/// A buffer of at least this length; what it held does not matter.
pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

impl Activations {
    /// Makes room to keep this many layers' results.
    pub(super) fn keep(&mut self, layers: usize) {
        self.layers.resize_with(layers.max(1), Default::default);
        self.streams.resize_with(layers.max(1) + 1, Vec::new);
    }
}

impl Bert {
    /// Computes the mean of each text's rows, (texts, hidden).
    pub fn pool(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        with: &mut Activations,
        out: &mut [f32],
    ) {
        with.keep(1);
        self.forward(device, batch, with, out);
    }

    /// As [`Bert::pool`], keeping as many layers as there are places for.
    pub(super) fn forward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        with: &mut Activations,
        out: &mut [f32],
    ) {
        self.embed(device, batch, with);
        for l in 0..self.layers.len() {
            self.layer(device, batch, l, with);
        }
        let place = self.layers.len() % with.streams.len();
        let stream = &with.streams[place][..batch.tokens() * self.config.hidden];
        mean_rows(stream, &batch.offsets, out);
    }

    /// The normed sum of each token's rows of the tables.
    fn embed(&self, device: &dyn Backend, batch: &Batch, with: &mut Activations) {
        let hidden = self.config.hidden;
        let embedded = sized(&mut with.embedded, batch.tokens() * hidden);
        let [tokens, positions, kinds] = &self.tables;
        let rows = batch.tokens.iter().zip(&batch.positions).zip(&batch.kinds);
        for (((token, position), kind), to) in rows.zip(embedded.chunks_exact_mut(hidden)) {
            let row = |at: u32| at as usize * hidden..(at as usize + 1) * hidden;
            let values = tokens[row(*token)].iter().zip(&positions[row(*position)]);
            let values = values.zip(&kinds[row(*kind)]);
            for (to, ((token, position), kind)) in to.iter_mut().zip(values) {
                *to = token + position + kind;
            }
        }
        let stream = sized(&mut with.streams[0], embedded.len());
        self.norm(device, embedded, &self.first_norm, &mut with.first_statistics, stream);
    }

    /// A layer from its input to its output.
    fn layer(&self, device: &dyn Backend, batch: &Batch, l: usize, with: &mut Activations) {
        let layer = &self.layers[l];
        let (tokens, hidden, inner) = (batch.tokens(), self.config.hidden, self.config.inner);
        let places = with.streams.len();
        let mut next = std::mem::take(&mut with.streams[(l + 1) % places]);
        let stream = &with.streams[l % places][..tokens * hidden];
        let place = l % with.layers.len();
        let with_layer = &mut with.layers[place];
        let [qkv_site, output, widen, narrow] = &layer.sites;

        let qkv = sized(&mut with_layer.qkv, tokens * 3 * hidden);
        qkv_site.apply(device, stream, &[], qkv);
        let shape = self.attention_shape(batch);
        let statistics = sized(&mut with_layer.attention_statistics, tokens * shape.heads);
        let mixed = sized(&mut with_layer.mixed, tokens * hidden);
        device.mutual_attention(MutualAttention { shape, qkv, statistics, out: mixed });
        let attended = sized(&mut with_layer.attended, tokens * hidden);
        output.apply(device, mixed, stream, attended);
        let middle = sized(&mut with_layer.middle, tokens * hidden);
        let statistics = &mut with_layer.attended_statistics;
        self.norm(device, attended, &layer.attention_norm, statistics, middle);

        let wide = sized(&mut with_layer.wide, tokens * inner);
        widen.apply(device, middle, &[], wide);
        let active = sized(&mut with_layer.active, tokens * inner);
        device.gelu(Gelu { shape: PointShape { elements: wide.len() }, x: wide, out: active });
        let narrowed = sized(&mut with_layer.narrowed, tokens * hidden);
        narrow.apply(device, active, middle, narrowed);
        let out = sized(&mut next, tokens * hidden);
        let statistics = &mut with_layer.narrowed_statistics;
        self.norm(device, narrowed, &layer.last_norm, statistics, out);
        with.streams[(l + 1) % places] = next;
    }

    /// Dimensions of a batch's attention.
    pub(super) fn attention_shape<'a>(&self, batch: &'a Batch) -> AttentionShape<'a> {
        let (heads, width) = (self.config.heads, self.config.width());
        AttentionShape { offsets: &batch.offsets, heads, width }
    }

    fn norm(
        &self,
        device: &dyn Backend,
        x: &[f32],
        affine: &[f32],
        statistics: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let hidden = self.config.hidden;
        let shape = NormShape { rows: x.len() / hidden, hidden };
        let statistics = sized(statistics, 2 * shape.rows);
        let epsilon = self.config.epsilon;
        device.layer_norm(LayerNorm { shape, x, affine, epsilon, out, statistics });
    }

    /// Multiply-adds of encoding a batch, counted twice each: products and attention.
    pub fn flops(&self, batch: &Batch) -> u64 {
        let weights = self.config.layers * self.layer_weights();
        let attention = self.attention_shape(batch).mutual_flops() * self.config.layers as u64;
        2 * (weights * batch.tokens()) as u64 + attention
    }

    fn layer_weights(&self) -> usize {
        let shapes = Projection::ALL.map(|part| part.shape(&self.config));
        shapes.iter().map(|[outputs, inputs]| outputs * inputs).sum()
    }
}

impl Site {
    /// The product, with what is learned beside it.
    pub fn apply(&self, device: &dyn Backend, x: &[f32], residual: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.weight.inputs(), self.weight.outputs());
        let rows = x.len() / inputs;
        let chosen = if self.changes.is_empty() { Vec::new() } else { vec![Some(0); rows] };
        device.lora_linear(LoraLinear {
            shape: LinearShape { rows, inputs, outputs },
            x,
            weight: &self.weight,
            bias: &self.bias,
            adapters: &self.changes,
            chosen: &chosen,
            residual,
            out,
        });
    }
}

/// The mean of each text's rows, summed in their order.
///
/// Source: Reimers and Gurevych, Sentence-BERT (2019), §3.
fn mean_rows(rows: &[f32], offsets: &[u32], out: &mut [f32]) {
    let texts = offsets.len() - 1;
    let hidden = out.len() / texts.max(1);
    for (ends, out) in offsets.windows(2).zip(out.chunks_exact_mut(hidden.max(1))) {
        out.fill(0.0);
        for row in rows[ends[0] as usize * hidden..ends[1] as usize * hidden].chunks_exact(hidden) {
            out.iter_mut().zip(row).for_each(|(to, x)| *to += x);
        }
        let share = 1.0 / (ends[1] - ends[0]) as f32;
        out.iter_mut().for_each(|to| *to *= share);
    }
}
