//! Names and shapes of a decoder's tensors, and which of them are kept as one.

use super::DecoderConfig;
use crate::model::weights::TensorSpec;

/// A weight that an adapter can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Projection {
    /// Of the attention: to queries.
    Query,
    /// Of the attention: to keys.
    Key,
    /// Of the attention: to values.
    Value,
    /// Of the attention: back to the stream.
    Output,
    /// Of the forward layer: to gates.
    Gate,
    /// Of the forward layer: to values.
    Up,
    /// Of the forward layer: back to the stream.
    Down,
}

use Projection::{Down, Gate, Key, Output, Query, Up, Value};

/// Weights of one layer that multiply the same rows and are kept as one, outputs one after the
/// other.
pub const SITES: [&[Projection]; 4] = [&[Query, Key, Value], &[Output], &[Gate, Up], &[Down]];

impl Projection {
    /// All, in the order of a layer.
    pub const ALL: [Projection; 7] = [Query, Key, Value, Output, Gate, Up, Down];

    /// The last part of its name, by which adapters know it.
    pub fn module(self) -> &'static str {
        match self {
            Query => "q_proj",
            Key => "k_proj",
            Value => "v_proj",
            Output => "o_proj",
            Gate => "gate_proj",
            Up => "up_proj",
            Down => "down_proj",
        }
    }

    /// Its name in a layer.
    pub fn name(self, layer: usize) -> String {
        let part = if self < Gate { "self_attn" } else { "mlp" };
        format!("model.layers.{layer}.{part}.{}", self.module())
    }

    /// Outputs and inputs.
    pub fn shape(self, config: &DecoderConfig) -> [usize; 2] {
        let DecoderConfig { hidden, inner, .. } = *config;
        let (queries, shared) = (config.heads * config.width, config.shared * config.width);
        match self {
            Query => [queries, hidden],
            Key | Value => [shared, hidden],
            Output => [hidden, queries],
            Gate | Up => [inner, hidden],
            Down => [hidden, inner],
        }
    }

    /// Whether it has a bias.
    pub fn has_bias(self, config: &DecoderConfig) -> bool {
        match self {
            Query | Key | Value => config.qkv_bias,
            Output => config.output_bias,
            Gate | Up | Down => false,
        }
    }
}

/// (vocabulary, hidden).
pub const EMBEDDINGS: &str = "model.embed_tokens.weight";
/// (vocabulary, hidden), unless it is the embeddings.
pub const HEAD: &str = "lm_head.weight";
/// (hidden).
pub const LAST_NORM: &str = "model.norm.weight";

/// (hidden): before attention.
pub fn attention_norm(layer: usize) -> String {
    format!("model.layers.{layer}.input_layernorm.weight")
}

/// (hidden): before the forward layer.
pub fn forward_norm(layer: usize) -> String {
    format!("model.layers.{layer}.post_attention_layernorm.weight")
}

/// All tensors.
pub fn tensors(config: &DecoderConfig) -> Vec<TensorSpec> {
    let DecoderConfig { vocabulary, hidden, .. } = *config;
    let mut all = Vec::new();
    let mut tensor = |name: String, shape: &[usize]| {
        all.push(TensorSpec { name, shape: shape.to_vec() });
    };
    tensor(EMBEDDINGS.into(), &[vocabulary, hidden]);
    for layer in 0..config.layers {
        tensor(attention_norm(layer), &[hidden]);
        for projection in Projection::ALL {
            let (name, shape) = (projection.name(layer), projection.shape(config));
            tensor(format!("{name}.weight"), &shape);
            if projection.has_bias(config) {
                tensor(format!("{name}.bias"), &shape[..1]);
            }
        }
        tensor(forward_norm(layer), &[hidden]);
    }
    tensor(LAST_NORM.into(), &[hidden]);
    if !config.tied {
        tensor(HEAD.into(), &[vocabulary, hidden]);
    }
    all
}

/// Whether a tensor may be in a file although nothing reads it: the head of a tied model, and the
/// frequencies that old files hold.
pub fn tolerated(config: &DecoderConfig, name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || config.tied && name == HEAD
}
