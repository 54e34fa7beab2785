//! A BERT's backward pass, as a list of kernel calls; a decoder has its own.

use super::base::Base;
use super::batch::Batch;
use super::bert::Bert;
use super::layout::{self, SITES};
use super::learner::{Learner, Trained};
use super::pass::{Activations, sized};
use crate::device::shape::{LinearShape, NormShape, PointShape};
use crate::device::{
    Backend, GeluBackward, LayerNormBackward, LookupBackward, LoraBackward,
    MutualAttentionBackward, WeightBackward,
};
use crate::model::decoder;
use crate::model::weights::TensorSpec;

/// What the forward pass leaves for the backward pass, and the buffers of both. Reusable.
#[derive(Default)]
pub struct Tape {
    with: Activations,
    d_stream: Vec<f32>,
    d_summed: Vec<f32>,
    d_middle: Vec<f32>,
    d_mixed: Vec<f32>,
    d_qkv: Vec<f32>,
    d_wide: Vec<f32>,
    /// The gradient of norms that are not trained.
    unread: Vec<f32>,
    /// Of a decoder that learns.
    decoder: (decoder::Batch, decoder::Tape),
}

/// What a thread may keep of a decoder's forward pass; layers beyond it are computed again.
const DECODER_KEPT_BYTES_MAX: usize = 1 << 30;

impl Learner {
    /// Computes the pooled row of each text, (texts, hidden), of a batch that is not empty, and
    /// keeps what the backward pass needs.
    ///
    /// Panics: if nothing of the base is trained.
    pub fn forward(&self, device: &dyn Backend, batch: &Batch, tape: &mut Tape, out: &mut [f32]) {
        match &self.encoder.base {
            Base::Bert(bert) => {
                tape.with.keep(bert.layers.len());
                bert.forward(device, batch, &mut tape.with, out);
            }
            Base::Learning(learner) => {
                let prompts = learner.prompts(batch.texts_tokens());
                let (packed, tape) = &mut tape.decoder;
                *packed = decoder::Batch::of(&prompts);
                learner.embed(device, packed, DECODER_KEPT_BYTES_MAX, tape, out);
            }
            Base::Decoder(_) => unreachable!("a decoder that does not learn has no tape"),
        }
    }

    /// Adds to `gradient`, laid out like the parameters, what follows from the gradient by the
    /// pooled rows. `tape` is what [`Learner::forward`] left for the same batch.
    ///
    /// Panics: if nothing of the base is trained.
    pub fn backward(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        tape: &mut Tape,
        d_pooled: &[f32],
        gradient: &mut [f32],
    ) {
        if let Base::Learning(learner) = &self.encoder.base {
            let (packed, tape) = &mut tape.decoder;
            let gradient = &mut gradient[..learner.tensors().iter().map(TensorSpec::len).sum()];
            return learner.embed_backward(device, packed, tape, d_pooled, gradient);
        }
        let bert = self.encoder.bert().expect("a decoder that does not learn has no tape");
        let (tokens, hidden) = (batch.tokens(), bert.config.hidden);
        let d_stream = sized(&mut tape.d_stream, tokens * hidden);
        let texts = batch.offsets.windows(2).zip(d_pooled.chunks_exact(hidden));
        for (ends, d_pooled) in texts {
            let share = 1.0 / (ends[1] - ends[0]) as f32;
            let rows = &mut d_stream[ends[0] as usize * hidden..ends[1] as usize * hidden];
            for row in rows.chunks_exact_mut(hidden) {
                row.iter_mut().zip(d_pooled).for_each(|(to, d)| *to = share * d);
            }
        }
        for l in (0..bert.layers.len()).rev() {
            self.forward_layer_backward(device, (bert, l), tokens, tape, gradient);
            self.attention_backward(device, (bert, l), batch, tape, gradient);
        }
        if self.trained == Trained::Full {
            self.tables_backward(device, bert, batch, tape, gradient);
        }
    }

    /// From a layer's output, in `d_stream`, to what goes into its forward products, in
    /// `d_middle`.
    fn forward_layer_backward(
        &self,
        device: &dyn Backend,
        (bert, l): (&Bert, usize),
        tokens: usize,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (hidden, inner) = (bert.config.hidden, bert.config.inner);
        let Tape { with, d_stream, d_summed, d_middle, d_wide, unread, .. } = tape;
        let (layer, with) = (&bert.layers[l], &with.layers[l]);
        let [_, _, widen, narrow] = self.transposed(&bert.layers, l);
        let shape = NormShape { rows: tokens, hidden };
        let d_summed = sized(d_summed, tokens * hidden);
        d_summed.fill(0.0);
        device.layer_norm_backward(LayerNormBackward {
            shape,
            x: &with.narrowed[..tokens * hidden],
            affine: &layer.last_norm,
            statistics: &with.narrowed_statistics[..2 * tokens],
            d_out: &d_stream[..tokens * hidden],
            d_x: d_summed,
            d_affine: self.norm(gradient, &layout::last_norm(l), hidden, unread),
        });
        let active = &with.active[..tokens * inner];
        self.weights_backward(device, (bert, l, 3), active, d_summed, gradient);
        let d_wide = sized(d_wide, tokens * inner);
        narrow.apply(device, d_summed, &[], d_wide);
        let shape = PointShape { elements: tokens * inner };
        device.gelu_backward(GeluBackward { shape, x: &with.wide[..tokens * inner], d: d_wide });
        let middle = &with.middle[..tokens * hidden];
        self.weights_backward(device, (bert, l, 2), middle, d_wide, gradient);
        let d_middle = sized(d_middle, tokens * hidden);
        widen.apply(device, d_wide, d_summed, d_middle);
    }

    /// From what goes into a layer's forward products, in `d_middle`, to what goes into the layer,
    /// in `d_stream`.
    fn attention_backward(
        &self,
        device: &dyn Backend,
        (bert, l): (&Bert, usize),
        batch: &Batch,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (tokens, hidden) = (batch.tokens(), bert.config.hidden);
        let Tape { with, d_stream, d_summed, d_middle, d_mixed, d_qkv, unread, .. } = tape;
        let stream = &with.streams[l][..tokens * hidden];
        let (layer, with) = (&bert.layers[l], &with.layers[l]);
        let [qkv, output, ..] = self.transposed(&bert.layers, l);
        let d_summed = sized(d_summed, tokens * hidden);
        d_summed.fill(0.0);
        device.layer_norm_backward(LayerNormBackward {
            shape: NormShape { rows: tokens, hidden },
            x: &with.attended[..tokens * hidden],
            affine: &layer.attention_norm,
            statistics: &with.attended_statistics[..2 * tokens],
            d_out: &d_middle[..tokens * hidden],
            d_x: d_summed,
            d_affine: self.norm(gradient, &layout::attention_norm(l), hidden, unread),
        });
        let mixed = &with.mixed[..tokens * hidden];
        self.weights_backward(device, (bert, l, 1), mixed, d_summed, gradient);
        let d_mixed = sized(d_mixed, tokens * hidden);
        output.apply(device, d_summed, &[], d_mixed);
        let shape = bert.attention_shape(batch);
        let d_qkv = sized(d_qkv, tokens * 3 * hidden);
        device.mutual_attention_backward(MutualAttentionBackward {
            shape,
            qkv: &with.qkv[..tokens * 3 * hidden],
            statistics: &with.attention_statistics[..tokens * shape.heads],
            out: mixed,
            d_out: d_mixed,
            d_qkv,
        });
        self.weights_backward(device, (bert, l, 0), stream, d_qkv, gradient);
        qkv.apply(device, d_qkv, d_summed, sized(d_stream, tokens * hidden));
    }

    /// From what goes into the first layer to the tables.
    fn tables_backward(
        &self,
        device: &dyn Backend,
        bert: &Bert,
        batch: &Batch,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (tokens, hidden) = (batch.tokens(), bert.config.hidden);
        let Tape { with, d_stream, d_summed, unread, .. } = tape;
        let d_summed = sized(d_summed, tokens * hidden);
        d_summed.fill(0.0);
        device.layer_norm_backward(LayerNormBackward {
            shape: NormShape { rows: tokens, hidden },
            x: &with.embedded[..tokens * hidden],
            affine: &bert.first_norm,
            statistics: &with.first_statistics[..2 * tokens],
            d_out: &d_stream[..tokens * hidden],
            d_x: d_summed,
            d_affine: self.norm(gradient, layout::FIRST_NORM, hidden, unread),
        });
        let places = [&batch.tokens, &batch.positions, &batch.kinds];
        for (name, rows) in layout::TABLES.iter().zip(places) {
            let rows: Vec<Option<u32>> = rows.iter().map(|row| Some(*row)).collect();
            let d_rows = &mut gradient[self.places[*name].clone()];
            device.lookup_backward(LookupBackward { rows: &rows, hidden, d_out: d_summed, d_rows });
        }
    }

    /// The part of a gradient that belongs to a norm; a buffer when it is not trained.
    fn norm<'a>(
        &self,
        gradient: &'a mut [f32],
        name: &str,
        hidden: usize,
        unread: &'a mut Vec<f32>,
    ) -> &'a mut [f32] {
        match self.places.get(&format!("{name}.weight")) {
            Some(range) => &mut gradient[range.start..range.start + 2 * hidden],
            None => sized(unread, 2 * hidden),
        }
    }

    /// The gradients of what is trained of weights that are kept as one.
    fn weights_backward(
        &self,
        device: &dyn Backend,
        (bert, l, site): (&Bert, usize, usize),
        x: &[f32],
        d_out: &[f32],
        gradient: &mut [f32],
    ) {
        let parts = SITES[site];
        for (at, part) in parts.iter().enumerate() {
            let ([outputs, inputs], name) = (part.shape(&bert.config), part.name(l));
            let shape = LinearShape { rows: x.len() / inputs, inputs, outputs };
            let (d_out, d_out_row) = (&d_out[at * outputs..], parts.len() * outputs);
            let kinds = if self.trained == Trained::Full { ["weight", "bias"] } else { ["A", "B"] };
            let [one, other] = kinds.map(|kind| self.places[&format!("{name}.{kind}")].clone());
            let [down, up] = [&one, &other].map(|place| &self.parameters()[place.clone()]);
            let middle = one.len();
            let (one, other) = gradient[one.start..other.end].split_at_mut(middle);
            match self.trained {
                Trained::Lora { rank, alpha } => device.lora_backward(LoraBackward {
                    shape,
                    rank,
                    scale: (alpha / rank as f64) as f32,
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

    /// Multiply-adds of learning from a batch, counted twice each: the forward pass, and the
    /// gradients by rows and, where every weight is trained, by weights.
    pub fn flops(&self, batch: &Batch) -> u64 {
        let passes = if self.trained == Trained::Full { 3 } else { 2 };
        match &self.encoder.base {
            Base::Bert(bert) => passes * bert.flops(batch),
            Base::Learning(learner) => learner.flops(batch.tokens(), batch.texts()),
            Base::Decoder(_) => 0,
        }
    }
}
