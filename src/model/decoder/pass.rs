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
//! reaches the logits.

use super::{Batch, Decoder, Layer, Site};
use crate::device::shape::{GatedShape, GroupedShape, LinearShape, NormShape};
use crate::device::{
    Backend, Gated, GroupedAttention, Lookup, LoraLinear, Matrix, Queries, RmsNorm, Rotary,
};

/// The buffers of a pass. Reusable.
#[derive(Default)]
pub struct Activations {
    /// Cosines and sines of the positions seen so far.
    angles: Vec<f32>,
    stream: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    statistics: Vec<f32>,
}

/// A buffer of at least this length; what it held does not matter.
fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

impl Decoder {
    /// Computes the logits (prompts, outputs of the table) of a batch that is not empty.
    pub fn forward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        table: &Matrix,
        with: &mut Activations,
        out: &mut [f32],
    ) {
        let (tokens, hidden) = (batch.tokens.len(), self.config.hidden);
        self.config.rope.extend(self.config.width, batch.longest, &mut with.angles);
        let stream = sized(&mut with.stream, tokens * hidden);
        device.lookup(Lookup { table: &self.embeddings, tokens: &batch.tokens, out: stream });
        for (l, layer) in self.layers.iter().enumerate() {
            let last = l + 1 == self.layers.len();
            self.layer(device, batch, layer, last, with);
        }
        let rows = batch.by_prompt.len();
        let stream = &with.stream[..rows * hidden];
        let normed = sized(&mut with.normed, rows * hidden);
        self.norm(device, stream, &self.last_norm, &mut with.statistics, normed);
        device.lora_linear(LoraLinear {
            shape: LinearShape { rows, inputs: hidden, outputs: table.outputs() },
            x: normed,
            weight: table,
            bias: &[],
            adapters: &[],
            chosen: &[],
            residual: &[],
            out,
        });
    }

    fn layer(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        layer: &Layer,
        last: bool,
        with: &mut Activations,
    ) {
        let (tokens, hidden, inner) = (batch.tokens.len(), self.config.hidden, self.config.inner);
        let shape = GroupedShape {
            offsets: &batch.offsets,
            heads: self.config.heads,
            shared: self.config.shared,
            width: self.config.width,
        };
        let normed = sized(&mut with.normed, tokens * hidden);
        let stream = &mut with.stream[..tokens * hidden];
        self.norm(device, stream, &layer.attention_norm, &mut with.statistics, normed);
        let qkv = sized(&mut with.qkv, tokens * shape.row());
        layer.qkv.apply(device, normed, &batch.by_token, &[], qkv);
        let (positions, table) = (&batch.positions, &with.angles);
        device.rotary(Rotary { shape, positions, table, qkv });
        let (rows, queries, chosen) = match last {
            true => (batch.by_prompt.len(), Queries::Last, &batch.by_prompt),
            false => (tokens, Queries::All, &batch.by_token),
        };
        if last {
            for (p, end) in batch.offsets[1..].iter().enumerate() {
                let from = (*end as usize - 1) * hidden;
                stream.copy_within(from..from + hidden, p * hidden);
            }
        }
        let stream = &mut stream[..rows * hidden];
        let mixed = sized(&mut with.mixed, rows * shape.queries());
        let statistics = sized(&mut with.statistics, rows * shape.heads);
        device.grouped_attention(GroupedAttention { shape, qkv, queries, statistics, out: mixed });
        let attended = sized(&mut with.attended, rows * hidden);
        layer.output.apply(device, mixed, chosen, stream, attended);
        let normed = &mut with.normed[..rows * hidden];
        self.norm(device, attended, &layer.forward_norm, &mut with.statistics, normed);
        let gate_up = sized(&mut with.gate_up, rows * 2 * inner);
        layer.gate_up.apply(device, normed, chosen, &[], gate_up);
        let gated = sized(&mut with.inner, rows * inner);
        let shape = GatedShape { rows, hidden: inner };
        device.gated(Gated { shape, x: gate_up, out: gated });
        layer.down.apply(device, gated, chosen, attended, stream);
    }

    fn norm(
        &self,
        device: &dyn Backend,
        x: &[f32],
        weight: &[f32],
        statistics: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let shape = NormShape { rows: x.len() / weight.len(), hidden: weight.len() };
        let (epsilon, statistics) = (self.config.epsilon, sized(statistics, shape.rows));
        device.rms_norm(RmsNorm { shape, x, weight, epsilon, out, statistics });
    }
}

impl Site {
    fn apply(
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
