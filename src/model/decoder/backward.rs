//! A decoder's backward pass, as a list of kernel calls.
//!
//! Of the forward pass either everything is kept, or only what goes into each layer, and the rest
//! of a layer is computed again when its turn comes: the same bits. In the last layer, as forward,
//! only the prompts' last rows take part from the attention's output on.

use super::Batch;
use super::layout::{self, SITES};
use super::learner::Learner;
use super::pass::{Activations, Within, sized};
use super::table::product;
use crate::device::shape::{GatedShape, LinearShape, NormShape};
use crate::device::{
    Backend, GatedBackward, GroupedAttentionBackward, LookupBackward, LoraBackward, Queries,
    RmsNormBackward, RotaryBackward, WeightBackward,
};

/// What the forward pass leaves for the backward pass, and the buffers of both. Reusable.
#[derive(Default)]
pub struct Tape {
    /// With a place for each layer if all is kept, or else with one.
    with: Activations,
    /// What goes into each layer.
    streams: Vec<Vec<f32>>,
    d_stream: Vec<f32>,
    d_normed: Vec<f32>,
    d_mixed: Vec<f32>,
    d_qkv: Vec<f32>,
    d_gated: Vec<f32>,
    d_gate_up: Vec<f32>,
    d_labels: Vec<f32>,
}

/// Keeps what goes into each layer.
struct Streams<'a>(&'a mut [Vec<f32>]);

impl Within for Streams<'_> {
    fn enter(&mut self, l: usize, stream: &[f32]) {
        self.0[l].clear();
        self.0[l].extend_from_slice(stream);
    }
}

/// The rows of a layer that go on after the attention.
#[derive(Clone, Copy)]
struct Rows<'a> {
    count: usize,
    chosen: &'a [Option<u32>],
    queries: Queries,
}

impl Learner {
    /// Computes the labels' logits (prompts, labels) of a batch that is not empty. What layers
    /// compute is kept for the backward pass if it takes no more than `kept_bytes_max`.
    pub fn forward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        kept_bytes_max: usize,
        tape: &mut Tape,
        out: &mut [f32],
    ) {
        let layers = self.decoder.layers.len();
        let kept = batch.tokens() * self.decoder.config.layer_bytes() * layers <= kept_bytes_max;
        tape.with.layers.resize_with(if kept { layers } else { 1 }, Default::default);
        tape.streams.resize_with(layers, Vec::new);
        let Tape { with, streams, .. } = tape;
        let within = &mut Streams(streams);
        self.decoder.forward_within(device, batch, &self.table, with, out, within);
    }

    /// Adds to `gradient`, laid out like the parameters, what follows from the logits' gradient.
    /// `tape` is what [`Learner::forward`] left for the same batch.
    pub fn backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        tape: &mut Tape,
        d_logits: &[f32],
        gradient: &mut [f32],
    ) {
        self.labels_backward(device, batch, tape, d_logits, gradient);
        self.rows_backward(device, batch, tape, gradient);
    }

    /// As [`Learner::forward`], of the row of each prompt's last token after the last norm,
    /// (prompts, hidden), in place of logits: as [`super::Decoder::embed`].
    pub fn embed(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        kept_bytes_max: usize,
        tape: &mut Tape,
        out: &mut [f32],
    ) {
        let mut logits = vec![0.0; batch.prompts() * self.labels().len()];
        self.forward(device, batch, kept_bytes_max, tape, &mut logits);
        out.copy_from_slice(&tape.with.last_normed.rows[..out.len()]);
    }

    /// As [`Learner::backward`], from the gradient of what [`Learner::embed`] computed.
    pub fn embed_backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        tape: &mut Tape,
        d_rows: &[f32],
        gradient: &mut [f32],
    ) {
        sized(&mut tape.d_normed, d_rows.len()).copy_from_slice(d_rows);
        self.rows_backward(device, batch, tape, gradient);
    }

    /// From the prompts' normed rows, whose gradient is in `d_normed`, to the embeddings.
    fn rows_backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        self.last_norm_backward(device, batch, tape, gradient);
        let (tokens, prompts) = (batch.tokens(), batch.prompts());
        for l in (0..self.decoder.layers.len()).rev() {
            let last = l + 1 == self.decoder.layers.len();
            let rows = match last {
                true => Rows { count: prompts, chosen: &batch.by_prompt, queries: Queries::Last },
                false => Rows { count: tokens, chosen: &batch.by_token, queries: Queries::All },
            };
            if tape.with.layers.len() == 1 && !last {
                tape.with.stream[..tape.streams[l].len()].copy_from_slice(&tape.streams[l]);
                self.decoder.layer(device, batch, l, &mut tape.with, &mut ());
            }
            self.forward_layer_backward(device, l, rows, tape, gradient);
            self.attention_backward(device, batch, l, rows, tape, gradient);
        }
        let rows: Vec<Option<u32>> = batch.tokens.iter().map(|token| self.row(*token)).collect();
        let hidden = self.decoder.config.hidden;
        let d_out = &tape.d_stream[..tokens * hidden];
        let d_rows = self.embeddings(gradient);
        device.lookup_backward(LookupBackward { rows: &rows, hidden, d_out, d_rows });
    }

    /// From the logits to the prompts' normed rows, in `d_normed`.
    fn labels_backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        tape: &mut Tape,
        d_logits: &[f32],
        gradient: &mut [f32],
    ) {
        let Tape { with, d_normed, d_labels, .. } = tape;
        let (rows, hidden) = (batch.prompts(), self.decoder.config.hidden);
        let labels = self.labels();
        let tied = self.decoder.config.tied;
        if tied || self.adapter.is_none() {
            let d_labels = sized(d_labels, labels.len() * hidden);
            d_labels.fill(0.0);
            device.weight_backward(WeightBackward {
                shape: LinearShape { rows, inputs: hidden, outputs: labels.len() },
                x: &with.last_normed.rows[..rows * hidden],
                d_out: d_logits,
                d_out_row: labels.len(),
                d_weight: d_labels,
                d_bias: &mut [],
            });
            let rows: Vec<Option<u32>> = labels.iter().map(|label| self.row(*label)).collect();
            let d_rows = match tied {
                true => self.embeddings(gradient),
                false => self.part(gradient, layout::HEAD),
            };
            device.lookup_backward(LookupBackward { rows: &rows, hidden, d_out: d_labels, d_rows });
        }
        product(device, d_logits, &self.table_transposed, sized(d_normed, rows * hidden));
    }

    /// From the prompts' normed rows to the last layer's output, in `d_stream`.
    fn last_norm_backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let Tape { with, d_stream, d_normed, .. } = tape;
        let (rows, hidden) = (batch.prompts(), self.decoder.config.hidden);
        let d_stream = sized(d_stream, rows * hidden);
        d_stream.fill(0.0);
        device.rms_norm_backward(RmsNormBackward {
            shape: NormShape { rows, hidden },
            x: &with.stream[..rows * hidden],
            weight: &self.decoder.last_norm,
            statistics: &with.last_normed.statistics[..rows],
            d_out: &d_normed[..rows * hidden],
            d_x: d_stream,
            d_weight: self.part(gradient, layout::LAST_NORM),
        });
    }

    /// From a layer's output, in `d_stream`, to what goes into its forward layer.
    fn forward_layer_backward(
        &self,
        device: &dyn Backend,
        l: usize,
        rows: Rows<'_>,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (hidden, inner) = (self.decoder.config.hidden, self.decoder.config.inner);
        let Rows { count, chosen, .. } = rows;
        let Tape { with, d_stream, d_normed, d_gated, d_gate_up, .. } = tape;
        let with = &with.layers[l % with.layers.len()];
        let [_, _, gate_up, down] = self.transposed(l);
        let d_stream = &mut d_stream[..count * hidden];
        let gated = &with.gated[..count * inner];
        self.weights_backward(device, (l, 3), gated, d_stream, gradient);
        let d_gated = sized(d_gated, count * inner);
        down.apply(device, d_stream, chosen, &[], d_gated);
        let d_gate_up = sized(d_gate_up, count * 2 * inner);
        device.gated_backward(GatedBackward {
            shape: GatedShape { rows: count, hidden: inner },
            x: &with.gate_up[..count * 2 * inner],
            d_out: d_gated,
            d_x: d_gate_up,
        });
        let normed = &with.forward_normed.rows[..count * hidden];
        self.weights_backward(device, (l, 2), normed, d_gate_up, gradient);
        let d_normed = sized(d_normed, count * hidden);
        gate_up.apply(device, d_gate_up, chosen, &[], d_normed);
        device.rms_norm_backward(RmsNormBackward {
            shape: NormShape { rows: count, hidden },
            x: &with.attended[..count * hidden],
            weight: &self.decoder.layers[l].forward_norm,
            statistics: &with.forward_normed.statistics[..count],
            d_out: d_normed,
            d_x: d_stream,
            d_weight: self.part(gradient, &layout::forward_norm(l)),
        });
    }

    /// From what goes into a layer's forward layer, in `d_stream`, to what goes into the layer.
    fn attention_backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        l: usize,
        rows: Rows<'_>,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (tokens, hidden) = (batch.tokens.len(), self.decoder.config.hidden);
        let shape = self.decoder.attention_shape(batch);
        let Rows { count, chosen, queries } = rows;
        let Tape { with, streams, d_stream, d_normed, d_mixed, d_qkv, .. } = tape;
        let (with, table) = (&with.layers[l % with.layers.len()], &with.angles);
        let [qkv, output, ..] = self.transposed(l);
        let d_attended = &d_stream[..count * hidden];
        let mixed = &with.mixed[..count * shape.queries()];
        self.weights_backward(device, (l, 1), mixed, d_attended, gradient);
        let d_mixed = sized(d_mixed, count * shape.queries());
        output.apply(device, d_attended, chosen, &[], d_mixed);
        let d_stream = sized(d_stream, tokens * hidden);
        if queries == Queries::Last {
            spread(&batch.lasts, hidden, d_stream);
        }
        let d_qkv = sized(d_qkv, tokens * shape.row());
        device.grouped_attention_backward(GroupedAttentionBackward {
            shape,
            qkv: &with.qkv[..tokens * shape.row()],
            queries,
            statistics: &with.attention_statistics[..count * shape.heads],
            out: mixed,
            d_out: d_mixed,
            d_qkv,
        });
        let positions = &batch.positions;
        device.rotary_backward(RotaryBackward { shape, positions, table, d_qkv });
        let normed = &with.attention_normed.rows[..tokens * hidden];
        self.weights_backward(device, (l, 0), normed, d_qkv, gradient);
        let d_normed = sized(d_normed, tokens * hidden);
        qkv.apply(device, d_qkv, &batch.by_token, &[], d_normed);
        device.rms_norm_backward(RmsNormBackward {
            shape: NormShape { rows: tokens, hidden },
            x: &streams[l],
            weight: &self.decoder.layers[l].attention_norm,
            statistics: &with.attention_normed.statistics[..tokens],
            d_out: d_normed,
            d_x: d_stream,
            d_weight: self.part(gradient, &layout::attention_norm(l)),
        });
    }

    /// The gradients of what is trained of weights that are kept as one.
    fn weights_backward(
        &self,
        device: &dyn Backend,
        (l, site): (usize, usize),
        x: &[f32],
        d_out: &[f32],
        gradient: &mut [f32],
    ) {
        let config = &self.decoder.config;
        let d_out_row = SITES[site].iter().map(|part| part.shape(config)[0]).sum();
        let mut first = 0;
        for part in SITES[site] {
            let [outputs, inputs] = part.shape(config);
            let shape = LinearShape { rows: x.len() / inputs, inputs, outputs };
            let d_out = &d_out[first..];
            first += outputs;
            let Some([one, other]) = self.projection(gradient, l, *part) else { continue };
            match self.adapter.as_ref().map(|adapter| (adapter, adapter.factors(l, *part))) {
                Some((adapter, Some((down, up)))) => device.lora_backward(LoraBackward {
                    shape,
                    rank: adapter.config().rank,
                    scale: adapter.config().scale(),
                    x,
                    down,
                    up,
                    d_out,
                    d_out_row,
                    d_down: one,
                    d_up: other,
                }),
                _ => device.weight_backward(WeightBackward {
                    shape,
                    x,
                    d_out,
                    d_out_row,
                    d_weight: one,
                    d_bias: other,
                }),
            }
        }
    }
}

/// Moves the prompts' rows, with which the buffer begins, to the places of their last tokens; the
/// others are 0.
fn spread(lasts: &[u32], hidden: usize, rows: &mut [f32]) {
    let mut after = rows.len();
    for (p, last) in lasts.iter().enumerate().rev() {
        // No prompt is without a token of its own, so that a row never moves before its place.
        let to = *last as usize * hidden;
        rows.copy_within(p * hidden..(p + 1) * hidden, to);
        rows[to + hidden..after].fill(0.0);
        after = to;
    }
    rows[..after].fill(0.0);
}
