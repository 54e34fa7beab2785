//! Forward and backward of a retriever, as lists of kernel calls.
//!
//! ```text
//! stream = drop(√hidden · item + position)
//! stream = stream + output(attention(projection(norm(stream))))          each block
//! stream = stream + drop(second(drop(relu(first(norm(stream))))))
//! hidden = norm(stream)
//! ```

use super::layout::BlockLayout;
use super::tokens::{ATTENTION, EMBEDDING, FIRST, SECOND, Tokens};
use super::{Retriever, RetrieverConfig};
use crate::device::shape::{AttentionShape, EmbedShape, LinearShape, NormShape};
use crate::device::{
    Activation, Attention, AttentionBackward, Backend, Dropout, Embed, EmbedBackward, LayerNorm,
    LayerNormBackward, Linear, LinearBackward,
};

/// Of the norms, as in the original: small, since rows can be small when training starts.
pub(super) const EPSILON: f32 = 1e-8;

/// What the forward pass leaves for the backward pass, and the scratch of both. Reusable.
#[derive(Default)]
pub struct Activations {
    embedded: Vec<f32>,
    blocks: Vec<Block>,
    hidden: Vec<f32>,
    last_statistics: Vec<f32>,
    d_stream: Vec<f32>,
    d_branch: Vec<f32>,
    d_inner: Vec<f32>,
    d_qkv: Vec<f32>,
}

#[derive(Default)]
struct Block {
    attention_normed: Vec<f32>,
    attention_statistics: Vec<f32>,
    qkv: Vec<f32>,
    probabilities: Vec<f32>,
    mixed: Vec<f32>,
    attended: Vec<f32>,
    forward_normed: Vec<f32>,
    forward_statistics: Vec<f32>,
    inner: Vec<f32>,
    stream: Vec<f32>,
}

impl Activations {
    /// The model's output for each token, (tokens, hidden).
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }

    fn resize(&mut self, tokens: usize, hidden: usize, blocks: usize, pairs: usize) {
        let wide = tokens * hidden;
        self.blocks.resize_with(blocks, Block::default);
        for buffer in [&mut self.embedded, &mut self.hidden, &mut self.d_stream] {
            buffer.resize(wide, 0.0);
        }
        for buffer in [&mut self.d_branch, &mut self.d_inner] {
            buffer.resize(wide, 0.0);
        }
        self.d_qkv.resize(3 * wide, 0.0);
        self.last_statistics.resize(2 * tokens, 0.0);
        for block in &mut self.blocks {
            block.qkv.resize(3 * wide, 0.0);
            block.probabilities.resize(pairs, 0.0);
            block.attention_statistics.resize(2 * tokens, 0.0);
            block.forward_statistics.resize(2 * tokens, 0.0);
            for buffer in [
                &mut block.attention_normed,
                &mut block.mixed,
                &mut block.attended,
                &mut block.forward_normed,
                &mut block.inner,
                &mut block.stream,
            ] {
                buffer.resize(wide, 0.0);
            }
        }
    }
}

impl Retriever {
    /// Computes every token's output.
    pub fn forward(&self, device: &dyn Backend, tokens: &Tokens, to: &mut Activations) {
        let attention = self.attention_shape(tokens);
        to.resize(tokens.len(), self.config.hidden, self.config.blocks, attention.pairs());
        device.embed(Embed {
            shape: self.embed_shape(tokens),
            items: &tokens.items,
            positions: &tokens.positions,
            item_table: &self.parameters[self.layout.items.clone()],
            position_table: &self.parameters[self.layout.positions.clone()],
            dropout: tokens.dropout(0, EMBEDDING),
            out: &mut to.embedded,
        });
        let mut stream = &to.embedded;
        for (b, block) in to.blocks.iter_mut().enumerate() {
            self.block_forward(device, tokens, b, stream, block);
            stream = &block.stream;
        }
        device.layer_norm(LayerNorm {
            shape: self.norm_shape(tokens),
            x: stream,
            affine: &self.parameters[self.layout.last_norm.clone()],
            epsilon: EPSILON,
            out: &mut to.hidden,
            statistics: &mut to.last_statistics,
        });
    }

    fn block_forward(
        &self,
        device: &dyn Backend,
        tokens: &Tokens,
        b: usize,
        stream: &[f32],
        to: &mut Block,
    ) {
        let at = &self.layout.blocks[b];
        let weights = |range: &std::ops::Range<usize>| &self.parameters[range.clone()];
        device.layer_norm(LayerNorm {
            shape: self.norm_shape(tokens),
            x: stream,
            affine: weights(&at.attention_norm),
            epsilon: EPSILON,
            out: &mut to.attention_normed,
            statistics: &mut to.attention_statistics,
        });
        device.linear(Linear {
            shape: self.linear_shape(tokens, 3),
            x: &to.attention_normed,
            affine: weights(&at.projection),
            activation: Activation::Identity,
            dropout: Dropout::NONE,
            residual: &[],
            out: &mut to.qkv,
        });
        device.attention(Attention {
            shape: self.attention_shape(tokens),
            qkv: &to.qkv,
            dropout: tokens.dropout(b, ATTENTION),
            probabilities: &mut to.probabilities,
            out: &mut to.mixed,
        });
        device.linear(Linear {
            shape: self.linear_shape(tokens, 1),
            x: &to.mixed,
            affine: weights(&at.output),
            activation: Activation::Identity,
            dropout: Dropout::NONE,
            residual: stream,
            out: &mut to.attended,
        });
        device.layer_norm(LayerNorm {
            shape: self.norm_shape(tokens),
            x: &to.attended,
            affine: weights(&at.forward_norm),
            epsilon: EPSILON,
            out: &mut to.forward_normed,
            statistics: &mut to.forward_statistics,
        });
        device.linear(Linear {
            shape: self.linear_shape(tokens, 1),
            x: &to.forward_normed,
            affine: weights(&at.first),
            activation: Activation::Relu,
            dropout: tokens.dropout(b, FIRST),
            residual: &[],
            out: &mut to.inner,
        });
        device.linear(Linear {
            shape: self.linear_shape(tokens, 1),
            x: &to.inner,
            affine: weights(&at.second),
            activation: Activation::Identity,
            dropout: tokens.dropout(b, SECOND),
            residual: &to.attended,
            out: &mut to.stream,
        });
    }

    /// Adds to `gradient`, laid out like the parameters, what follows from the output's gradient.
    /// `from` is what [`Retriever::forward`] left for the same tokens.
    pub fn backward(
        &self,
        device: &dyn Backend,
        tokens: &Tokens,
        from: &mut Activations,
        d_hidden: &[f32],
        gradient: &mut [f32],
    ) {
        let Activations { embedded, blocks, d_stream, .. } = from;
        d_stream.fill(0.0);
        device.layer_norm_backward(LayerNormBackward {
            shape: self.norm_shape(tokens),
            x: blocks.last().map_or(&*embedded, |block| &block.stream),
            affine: &self.parameters[self.layout.last_norm.clone()],
            statistics: &from.last_statistics,
            d_out: d_hidden,
            d_x: d_stream,
            d_affine: &mut gradient[self.layout.last_norm.clone()],
        });
        for b in (0..self.config.blocks).rev() {
            self.forward_layer_backward(device, tokens, b, from, gradient);
            self.attention_layer_backward(device, tokens, b, from, gradient);
        }
        let (d_items, d_rest) = gradient[self.layout.items.start..self.layout.positions.end]
            .split_at_mut(self.layout.items.len());
        device.embed_backward(EmbedBackward {
            shape: self.embed_shape(tokens),
            items: &tokens.items,
            positions: &tokens.positions,
            dropout: tokens.dropout(0, EMBEDDING),
            d_out: &from.d_stream,
            d_item_table: d_items,
            d_position_table: d_rest,
        });
    }

    fn forward_layer_backward(
        &self,
        device: &dyn Backend,
        tokens: &Tokens,
        b: usize,
        from: &mut Activations,
        gradient: &mut [f32],
    ) {
        let at: &BlockLayout = &self.layout.blocks[b];
        let block = &from.blocks[b];
        device.linear_backward(LinearBackward {
            shape: self.linear_shape(tokens, 1),
            x: &block.inner,
            affine: &self.parameters[at.second.clone()],
            activation: Activation::Identity,
            dropout: tokens.dropout(b, SECOND),
            out: &[],
            d_out: &from.d_stream,
            d_x: &mut from.d_inner,
            d_affine: &mut gradient[at.second.clone()],
        });
        device.linear_backward(LinearBackward {
            shape: self.linear_shape(tokens, 1),
            x: &block.forward_normed,
            affine: &self.parameters[at.first.clone()],
            activation: Activation::Relu,
            dropout: tokens.dropout(b, FIRST),
            out: &block.inner,
            d_out: &from.d_inner,
            d_x: &mut from.d_branch,
            d_affine: &mut gradient[at.first.clone()],
        });
        device.layer_norm_backward(LayerNormBackward {
            shape: self.norm_shape(tokens),
            x: &block.attended,
            affine: &self.parameters[at.forward_norm.clone()],
            statistics: &block.forward_statistics,
            d_out: &from.d_branch,
            d_x: &mut from.d_stream,
            d_affine: &mut gradient[at.forward_norm.clone()],
        });
    }

    fn attention_layer_backward(
        &self,
        device: &dyn Backend,
        tokens: &Tokens,
        b: usize,
        from: &mut Activations,
        gradient: &mut [f32],
    ) {
        let at: &BlockLayout = &self.layout.blocks[b];
        let block = &from.blocks[b];
        device.linear_backward(LinearBackward {
            shape: self.linear_shape(tokens, 1),
            x: &block.mixed,
            affine: &self.parameters[at.output.clone()],
            activation: Activation::Identity,
            dropout: Dropout::NONE,
            out: &[],
            d_out: &from.d_stream,
            d_x: &mut from.d_inner,
            d_affine: &mut gradient[at.output.clone()],
        });
        device.attention_backward(AttentionBackward {
            shape: self.attention_shape(tokens),
            qkv: &block.qkv,
            dropout_rate: tokens.dropout,
            probabilities: &block.probabilities,
            out: &block.mixed,
            d_out: &from.d_inner,
            d_qkv: &mut from.d_qkv,
        });
        device.linear_backward(LinearBackward {
            shape: self.linear_shape(tokens, 3),
            x: &block.attention_normed,
            affine: &self.parameters[at.projection.clone()],
            activation: Activation::Identity,
            dropout: Dropout::NONE,
            out: &[],
            d_out: &from.d_qkv,
            d_x: &mut from.d_branch,
            d_affine: &mut gradient[at.projection.clone()],
        });
        let before = if b == 0 { &from.embedded } else { &from.blocks[b - 1].stream };
        device.layer_norm_backward(LayerNormBackward {
            shape: self.norm_shape(tokens),
            x: before,
            affine: &self.parameters[at.attention_norm.clone()],
            statistics: &block.attention_statistics,
            d_out: &from.d_branch,
            d_x: &mut from.d_stream,
            d_affine: &mut gradient[at.attention_norm.clone()],
        });
    }

    fn embed_shape(&self, tokens: &Tokens) -> EmbedShape {
        let RetrieverConfig { items, hidden, length_max: positions, .. } = self.config;
        EmbedShape { tokens: tokens.len(), hidden, items, positions }
    }

    fn norm_shape(&self, tokens: &Tokens) -> NormShape {
        NormShape { rows: tokens.len(), hidden: self.config.hidden }
    }

    fn linear_shape(&self, tokens: &Tokens, times: usize) -> LinearShape {
        let inputs = self.config.hidden;
        LinearShape { rows: tokens.len(), inputs, outputs: times * inputs }
    }

    fn attention_shape<'a>(&self, tokens: &'a Tokens) -> AttentionShape<'a> {
        let RetrieverConfig { hidden, heads, .. } = self.config;
        AttentionShape { offsets: &tokens.offsets, heads, width: hidden / heads }
    }

    /// Multiply-adds of the forward pass, counted twice each; the backward pass has twice as many.
    pub fn flops(&self, tokens: &Tokens) -> u64 {
        let linear = self.linear_shape(tokens, 6).flops();
        let norms = 2 * self.norm_shape(tokens).flops();
        let block = linear + norms + self.attention_shape(tokens).flops();
        self.embed_shape(tokens).flops() + self.config.blocks as u64 * block
    }
}
