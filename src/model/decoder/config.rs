//! A decoder's `config.json`: what of it is implemented, checked; the rest refused by name.

use super::Prompt;
use super::rope::{Rope, Scaling};
use crate::error::{Error, Result};
use crate::model::fields::Fields;
use serde_json::{Map, Value};
use std::path::Path;

/// A decoder's dimensions and options.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Rows of the embeddings: tokens.
    pub vocabulary: usize,
    /// Width of the model.
    pub hidden: usize,
    /// Width between the two forward products.
    pub inner: usize,
    /// How many layers.
    pub layers: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of the keys and values; they divide `heads`.
    pub shared: usize,
    /// Width of a head; even.
    pub width: usize,
    /// Tokens of the longest prompt.
    pub context_max: usize,
    /// Of the norms.
    pub epsilon: f32,
    /// How positions become angles.
    pub rope: Rope,
    /// Whether the logits' matrix is that of the embeddings.
    pub tied: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output has a bias.
    pub output_bias: bool,
}

impl DecoderConfig {
    /// Tokens of a device's batches: as many as are asked for, and never fewer than a prompt of at
    /// most so many may have, so that their size changes no logits.
    pub fn batch_tokens(&self, asked: usize, prompt_tokens_max: usize) -> usize {
        asked.max(prompt_tokens_max.min(self.context_max))
    }

    /// What a layer computes for a token, as a backward pass reads it, in bytes.
    pub(super) fn layer_bytes(&self) -> usize {
        let qkv = (self.heads + 2 * self.shared) * self.width;
        let attention = qkv + self.heads * self.width + self.heads + 1;
        size_of::<f32>() * (4 * self.hidden + attention + 3 * self.inner + 1)
    }

    /// Refuses tokens that are not in the vocabulary.
    ///
    /// Errors: [`Error::Model`].
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        match tokens.iter().find(|token| **token as usize >= self.vocabulary) {
            None => Ok(()),
            Some(token) => Err(Error::Model(self.unknown(*token))),
        }
    }

    fn unknown(&self, token: u32) -> String {
        let last = self.vocabulary - 1;
        format!("token {token}: expected one of the vocabulary, 0 to {last}")
    }

    /// What keeps a prompt from being scored with so many adapters, if anything does.
    pub(super) fn refusal(&self, prompt: &Prompt, adapters: u32) -> Option<String> {
        let (length, longest) = (prompt.tokens.len(), self.context_max);
        if length == 0 {
            return Some("expected at least one token, found none".into());
        }
        if length > longest {
            return Some(format!(
                "expected at most {longest} tokens, the model's context, found {length}"
            ));
        }
        if let Some(adapter) = prompt.adapter.filter(|adapter| *adapter >= adapters) {
            return Some(format!("adapter {adapter}: expected one of {adapters}"));
        }
        let outside = |token: &&u32| **token as usize >= self.vocabulary;
        prompt.tokens.iter().find(outside).map(|token| self.unknown(*token))
    }

    /// Reads a folder's `config.json`.
    ///
    /// Errors: [`Error::Io`] when it cannot be read, and see [`DecoderConfig::parse`].
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// Reads a Llama or Qwen2 configuration. `what` names the file in messages.
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
        let config = Self::read(&mut fields);
        match fields.problems.is_empty() {
            true => Ok(config),
            false => Err(Error::Model(format!("{what}: {}", fields.problems.join("; ")))),
        }
    }

    /// Refuses dimensions of 0, heads that cannot be shared out and an odd width: what
    /// [`DecoderConfig::parse`] refuses in a file.
    ///
    /// Errors: [`Error::Model`].
    pub fn check(&self) -> Result<()> {
        let Self { vocabulary, hidden, inner, layers, heads, shared, width, context_max, .. } =
            *self;
        let counts = [vocabulary, hidden, inner, layers, heads, shared, width, context_max];
        if counts.contains(&0) || !heads.is_multiple_of(shared) || !width.is_multiple_of(2) {
            return Err(Error::Model(format!(
                "decoder: expected dimensions of at least 1, heads that the shared heads divide, \
                 and an even width, found {self:?}"
            )));
        }
        Ok(())
    }

    fn read(fields: &mut Fields<'_>) -> Self {
        let qwen = fields.word("model_type", "") == "qwen2";
        refuse(fields);
        let (hidden, heads) = (
            fields.count("hidden_size", None, 1 << 16),
            fields.count("num_attention_heads", None, 1 << 12),
        );
        let shared = fields.count("num_key_value_heads", Some(heads), 1 << 12);
        let width = fields.count("head_dim", Some((hidden / heads.max(1)).max(1)), 1 << 12);
        if shared > 0 && !heads.is_multiple_of(shared) {
            fields.tell(format!("num_key_value_heads = {shared}: expected a divisor of {heads}"));
        }
        if !width.is_multiple_of(2) {
            fields.tell(format!("head_dim = {width}: expected an even number"));
        }
        let bias = fields.flag("attention_bias", false);
        Self {
            vocabulary: fields.count("vocab_size", None, u32::MAX as usize),
            hidden,
            inner: fields.count("intermediate_size", None, 1 << 20),
            layers: fields.count("num_hidden_layers", None, 1 << 10),
            heads,
            shared,
            width,
            context_max: fields.count("max_position_embeddings", None, 1 << 24),
            epsilon: fields.number("rms_norm_eps", Some(1e-6)) as f32,
            rope: rope(fields),
            tied: fields.flag("tie_word_embeddings", false),
            qkv_bias: qwen || bias,
            output_bias: !qwen && bias,
        }
    }
}

/// Tells every option that is in use and not implemented.
fn refuse(fields: &mut Fields<'_>) {
    for (key, expected, all) in [
        ("model_type", ["llama", "qwen2"], "Llama and Qwen2 decoders are"),
        ("hidden_act", ["silu", "swish"], "SwiGLU is"),
    ] {
        let found = fields.word(key, if key == "hidden_act" { "silu" } else { "" });
        if !expected.contains(&found) {
            let [one, other] = expected;
            fields.tell(format!(
                "{key}: expected {one:?} or {other:?}, found {found:?}: only {all} implemented"
            ));
        }
    }
    for key in ["mlp_bias", "use_sliding_window", "is_encoder_decoder", "add_cross_attention"] {
        if fields.flag(key, false) {
            fields.tell(format!("{key} = true: not implemented: use a model without it"));
        }
    }
    if fields.map.get("quantization_config").is_some_and(|value| !value.is_null()) {
        fields
            .tell("quantization_config: not implemented: use the model's f32, bf16 or f16 weights");
    }
    let windowed = fields.map.get("sliding_window").is_some_and(|value| !value.is_null());
    if windowed && fields.map.get("use_sliding_window").is_none() {
        fields.tell("sliding_window: not implemented: use a model without it");
    }
    let layers = fields.map.get("layer_types").and_then(Value::as_array);
    if let Some(other) = layers.and_then(|all| all.iter().find(|kind| *kind != "full_attention")) {
        fields.tell(format!("layer_types: {other}: not implemented: expected \"full_attention\""));
    }
    if fields.number("partial_rotary_factor", Some(1.0)) != 1.0 {
        fields.tell("partial_rotary_factor: not implemented: expected 1");
    }
}

/// The angles, from `rope_parameters` of newer files or `rope_theta` and `rope_scaling` of older
/// ones.
fn rope(fields: &mut Fields<'_>) -> Rope {
    const THETA: f64 = 10_000.0;
    let nothing = Map::new();
    let section = ["rope_parameters", "rope_scaling"]
        .into_iter()
        .find_map(|key| Some((key, fields.map.get(key)?.as_object()?)));
    let (prefix, map) = section.unwrap_or(("", &nothing));
    let theta = fields.number("rope_theta", Some(THETA));
    let mut inner = Fields { map, prefix, problems: Vec::new() };
    let theta = inner.number("rope_theta", Some(theta));
    let kind = inner.word("type", "default");
    let scaling = match inner.word("rope_type", kind) {
        "default" => None,
        "llama3" => Some(Scaling {
            factor: inner.number("factor", None),
            low: inner.number("low_freq_factor", None),
            high: inner.number("high_freq_factor", None),
            original: inner.number("original_max_position_embeddings", None),
        }),
        other => {
            inner.tell(format!(
                "rope_type: expected \"default\" or \"llama3\", found {other:?}: other scalings \
                 are not implemented"
            ));
            None
        }
    };
    let disordered = scaling.as_ref().is_some_and(|scaling| scaling.high <= scaling.low);
    if disordered && inner.problems.is_empty() {
        inner.tell("high_freq_factor: expected more than low_freq_factor");
    }
    let problems = inner.problems;
    fields.problems.extend(problems);
    Rope { theta, scaling }
}
