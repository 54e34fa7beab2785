//! Names and shapes of a BERT's tensors, and which of them are kept as one.

use super::BertConfig;
use crate::model::weights::TensorSpec;

/// A weight of a layer, with a bias.
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
    /// Of the forward layer: to its inner width.
    Widen,
    /// Of the forward layer: back to the stream.
    Narrow,
}

use Projection::{Key, Narrow, Output, Query, Value, Widen};

/// Weights of one layer that multiply the same rows and are kept as one, outputs one after the
/// other.
pub const SITES: [&[Projection]; 4] = [&[Query, Key, Value], &[Output], &[Widen], &[Narrow]];

impl Projection {
    /// All, in the order of a layer.
    pub const ALL: [Projection; 6] = [Query, Key, Value, Output, Widen, Narrow];

    /// Its name in a layer.
    pub fn name(self, layer: usize) -> String {
        let part = match self {
            Query => "attention.self.query",
            Key => "attention.self.key",
            Value => "attention.self.value",
            Output => "attention.output.dense",
            Widen => "intermediate.dense",
            Narrow => "output.dense",
        };
        format!("encoder.layer.{layer}.{part}")
    }

    /// Outputs and inputs.
    pub fn shape(self, config: &BertConfig) -> [usize; 2] {
        let BertConfig { hidden, inner, .. } = *config;
        match self {
            Query | Key | Value | Output => [hidden, hidden],
            Widen => [inner, hidden],
            Narrow => [hidden, inner],
        }
    }
}

/// (vocabulary, hidden), (context, hidden), (kinds, hidden): what a token's first row is the sum
/// of.
pub const TABLES: [&str; 3] = [
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
];

/// The norm of the embeddings: `.weight` and `.bias`, (hidden) each, like those of a layer.
pub const FIRST_NORM: &str = "embeddings.LayerNorm";

/// After a layer's attention.
pub fn attention_norm(layer: usize) -> String {
    format!("encoder.layer.{layer}.attention.output.LayerNorm")
}

/// After a layer's forward products.
pub fn last_norm(layer: usize) -> String {
    format!("encoder.layer.{layer}.output.LayerNorm")
}

/// All tensors; a norm's weight and bias follow each other, and so do a projection's.
pub fn tensors(config: &BertConfig) -> Vec<TensorSpec> {
    let hidden = config.hidden;
    let mut all = Vec::new();
    let mut tensor = |name: String, shape: &[usize]| {
        all.push(TensorSpec { name, shape: shape.to_vec() });
    };
    for (name, rows) in TABLES.iter().zip([config.vocabulary, config.context_max, config.kinds]) {
        tensor((*name).into(), &[rows, hidden]);
    }
    let mut both = |name: &str, shape: &[usize]| {
        tensor(format!("{name}.weight"), shape);
        tensor(format!("{name}.bias"), &shape[..1]);
    };
    both(FIRST_NORM, &[hidden]);
    for layer in 0..config.layers {
        for projection in Projection::ALL {
            both(&projection.name(layer), &projection.shape(config));
            if projection == Output {
                both(&attention_norm(layer), &[hidden]);
            }
        }
        both(&last_norm(layer), &[hidden]);
    }
    all
}

/// What models with more than an encoder put before the names.
pub const PREFIX: &str = "bert.";

/// Whether a tensor may be in a file although nothing reads it: the pooler and the heads of other
/// tasks, and the positions that old files hold.
pub fn tolerated(name: &str) -> bool {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    ["pooler.", "cls."].iter().any(|part| name.starts_with(part))
        || name == "embeddings.position_ids"
}
