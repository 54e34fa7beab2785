//! A text encoder's `config.json`: what of it is implemented, checked; the rest refused by name.

use crate::error::{Error, Result};
use crate::model::fields::Fields;
use serde_json::{Value, json};

/// The dimensions of a BERT.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Rows of the embeddings: tokens.
    pub vocabulary: usize,
    /// Width of the model.
    pub hidden: usize,
    /// Width between the two forward products.
    pub inner: usize,
    /// How many layers.
    pub layers: usize,
    /// Heads of the attention; they divide `hidden`.
    pub heads: usize,
    /// Tokens of the longest text.
    pub context_max: usize,
    /// Token types: kinds of parts of a text.
    pub kinds: usize,
    /// Of the norms.
    pub epsilon: f32,
}

impl BertConfig {
    /// Reads a BERT's configuration. `what` names the file in messages.
    ///
    /// Errors: [`Error::Model`] that names everything that is missing, impossible or not
    /// implemented.
    pub fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|e| Error::Model(format!("{what}: not JSON: {e}")))?;
        let Value::Object(map) = value else {
            return Err(Error::Model(format!("{what}: expected a JSON object")));
        };
        let mut fields = Fields { map: &map, prefix: "", problems: Vec::new() };
        refuse(&mut fields);
        let config = Self {
            vocabulary: fields.count("vocab_size", None, u32::MAX as usize),
            hidden: fields.count("hidden_size", None, 1 << 16),
            inner: fields.count("intermediate_size", None, 1 << 20),
            layers: fields.count("num_hidden_layers", None, 1 << 10),
            heads: fields.count("num_attention_heads", None, 1 << 12),
            context_max: fields.count("max_position_embeddings", None, 1 << 24),
            kinds: fields.count("type_vocab_size", Some(2), 1 << 16),
            epsilon: fields.number("layer_norm_eps", Some(1e-12)) as f32,
        };
        if !config.hidden.is_multiple_of(config.heads) {
            let (hidden, heads) = (config.hidden, config.heads);
            fields.tell(format!("num_attention_heads = {heads}: expected a divisor of {hidden}"));
        }
        match fields.problems.is_empty() {
            true => Ok(config),
            false => Err(Error::Model(format!("{what}: {}", fields.problems.join("; ")))),
        }
    }

    /// Refuses dimensions of 0 and heads that cannot be shared out: what [`BertConfig::parse`]
    /// refuses in a file.
    ///
    /// Errors: [`Error::Model`].
    pub fn check(&self) -> Result<()> {
        let Self { vocabulary, hidden, inner, layers, heads, context_max, kinds, .. } = *self;
        let counts = [vocabulary, hidden, inner, layers, heads, context_max, kinds];
        if counts.contains(&0) || !hidden.is_multiple_of(heads) || self.epsilon <= 0.0 {
            return Err(Error::Model(format!(
                "encoder: expected dimensions of at least 1, heads that divide the width, and an \
                 epsilon above 0, found {self:?}"
            )));
        }
        Ok(())
    }

    /// Width of a head.
    pub fn width(&self) -> usize {
        self.hidden / self.heads
    }

    /// The configuration as transformers reads it.
    pub(super) fn to_json(&self) -> Value {
        // The shortest decimal that is read as the same f32.
        let epsilon: f64 = self.epsilon.to_string().parse().unwrap_or(f64::from(self.epsilon));
        json!({
            "architectures": ["BertModel"],
            "hidden_act": "gelu",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "layer_norm_eps": epsilon,
            "max_position_embeddings": self.context_max,
            "model_type": "bert",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "position_embedding_type": "absolute",
            "torch_dtype": "float32",
            "type_vocab_size": self.kinds,
            "vocab_size": self.vocabulary,
        })
    }
}

/// Tells every option that is in use and not implemented.
fn refuse(fields: &mut Fields<'_>) {
    for (key, default, expected) in [
        ("model_type", "", "bert"),
        ("hidden_act", "gelu", "gelu"),
        ("position_embedding_type", "absolute", "absolute"),
    ] {
        let found = fields.word(key, default);
        if found != expected {
            fields.tell(format!("{key}: only {expected:?} is implemented, found {found:?}"));
        }
    }
    for key in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
        if fields.flag(key, false) {
            fields.tell(format!("{key} = true: not implemented: use a model without it"));
        }
    }
    if fields.map.get("quantization_config").is_some_and(|value| !value.is_null()) {
        fields
            .tell("quantization_config: not implemented: use the model's f32, bf16 or f16 weights");
    }
}
