//! LoRA adapters in PEFT's layout, both ways: `adapter_config.json` beside
//! `adapter_model.safetensors`.
//!
//! An adapter changes some of a decoder's seven projections, in every layer: weight + scale · B · A
//! with A (rank, inputs) and B (outputs, rank). Trained rows of tokens belong into the same two
//! files, as PEFT's `trainable_token_indices` lays them out: the indices in the configuration and
//! the rows as `base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta`. In spite
//! of that name they replace the base model's rows.

use super::decoder::{DecoderConfig, Projection};
use super::tensors::Tensors;
use super::weights::{self, TensorSpec};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// The names of the two files.
const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before a tensor's name.
const PREFIX: &str = "base_model.model.";
const RANK_MAX: u64 = 1 << 12;

/// Keys of the configuration that are read, or that change nothing when the adapter is applied. Any
/// other that is set is refused.
const KNOWN: [&str; 18] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",  // of training
    "megatron_core", // the name of a package, read with `megatron_config` only
    "peft_type",
    "peft_version",
    "qalora_group_size", // read with `use_qalora` only
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "trainable_token_indices",
    "use_rslora",
];
/// The one layer whose rows an adapter may replace.
const ROWS: &str = "embed_tokens";

/// What an adapter is.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// R.
    pub rank: usize,
    /// The numerator of the scale.
    pub alpha: f64,
    /// Whether the scale is alpha / √R instead of alpha / R.
    ///
    /// Source: Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA (2023).
    pub rslora: bool,
    /// What it changes, each once, in the order of a layer.
    pub targets: Vec<Projection>,
    /// Tokens whose rows of the embeddings (and of a tied model's logits) it replaces, each once.
    pub tokens: Vec<u32>,
    /// The base model's name or path, as PEFT is told it.
    pub base: Option<String>,
}

impl AdapterConfig {
    /// What B · A is multiplied by.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.rslora { rank.sqrt() } else { rank }) as f32
    }

    /// Reads a configuration. `what` names the file in messages; `found` are the names of the
    /// adapter's tensors, from which targets are taken where the configuration gives a pattern.
    ///
    /// Errors: [`Error::Model`] that names everything that is missing, impossible or not
    /// implemented.
    pub fn parse<'a>(
        what: &str,
        bytes: &[u8],
        found: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|e| Error::Model(format!("{what}: not JSON: {e}")))?;
        let Value::Object(map) = value else {
            return Err(Error::Model(format!("{what}: expected a JSON object")));
        };
        let mut problems = refusals(&map);
        let mut number = |key: &str| {
            let value = map.get(key).and_then(Value::as_f64).filter(|x| *x > 0.0 && x.is_finite());
            if value.is_none() {
                problems.push(format!("{key}: expected a positive number"));
            }
            value.unwrap_or(1.0)
        };
        let (rank, alpha) = (number("r"), number("lora_alpha"));
        if rank.fract() != 0.0 || rank > RANK_MAX as f64 {
            problems.push(format!("r = {rank}: expected a whole number up to {RANK_MAX}"));
        }
        let targets = match targets(map.get("target_modules"), found) {
            Ok(targets) => targets,
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        };
        let tokens = match tokens(map.get("trainable_token_indices")) {
            Ok(tokens) => tokens,
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        };
        if !problems.is_empty() {
            return Err(Error::Model(format!("{what}: {}", problems.join("; "))));
        }
        let rslora = map.get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        let base = map.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { rank: rank as usize, alpha, rslora, targets, tokens, base })
    }

    /// The configuration as PEFT reads it.
    fn to_json(&self) -> String {
        let targets: Vec<&str> = self.targets.iter().map(|target| target.module()).collect();
        let alpha = match self.alpha.fract() == 0.0 {
            true => json!(self.alpha as i64),
            false => json!(self.alpha),
        };
        let value = json!({
            "base_model_name_or_path": self.base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "trainable_token_indices": (!self.tokens.is_empty()).then_some(&self.tokens),
            "use_dora": false,
            "use_rslora": self.rslora,
        });
        format!("{value:#}\n")
    }

    /// Its tensors: layer by layer and target by target A, then B; then the rows it replaces.
    fn tensors(&self, base: &DecoderConfig) -> Vec<TensorSpec> {
        let mut all = Vec::new();
        for layer in 0..base.layers {
            for target in &self.targets {
                let (name, [outputs, inputs]) = (target.name(layer), target.shape(base));
                let names = [("A", [self.rank, inputs]), ("B", [outputs, self.rank])];
                all.extend(names.map(|(which, shape)| TensorSpec {
                    name: format!("{PREFIX}{name}.lora_{which}.weight"),
                    shape: shape.into(),
                }));
            }
        }
        if !self.tokens.is_empty() {
            let name = format!("{PREFIX}model.{ROWS}.token_adapter.trainable_tokens_delta");
            all.push(TensorSpec { name, shape: vec![self.tokens.len(), base.hidden] });
        }
        all
    }

    /// Refuses tokens that the base model does not have.
    pub(super) fn check(&self, base: &DecoderConfig) -> Result<()> {
        match self.tokens.iter().find(|token| **token as usize >= base.vocabulary) {
            None => Ok(()),
            Some(token) => Err(Error::Model(format!(
                "{CONFIG}: trainable_token_indices: token {token}: expected one of the base \
                 model's {}: is the adapter of this base model?",
                base.vocabulary
            ))),
        }
    }
}

/// Options that are in use and not implemented.
fn refusals(map: &Map<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, expected, default) in [("peft_type", "LORA", ""), ("bias", "none", "none")] {
        let found = map.get(key).and_then(Value::as_str).unwrap_or(default);
        if found != expected {
            problems.push(format!("{key}: expected {expected:?}, found {found:?}"));
        }
    }
    // Some ways to begin change the base model's weights too, so that the adapter alone is not
    // what was trained.
    match map.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(Value::String(kind)) if ["gaussian", "eva", "orthogonal"].contains(&kind.as_str()) => {
        }
        Some(kind) => problems.push(format!(
            "init_lora_weights = {kind}: changes the base model: convert the adapter to plain LoRA"
        )),
    }
    let unset = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    };
    let known = |key: &str| KNOWN.contains(&key);
    let unknown = map.iter().filter(|(key, value)| !known(key) && !unset(value));
    problems.extend(unknown.map(|(key, _)| format!("{key}: not implemented: train without it")));
    problems
}

/// The projections that an adapter changes.
fn targets<'a>(
    value: Option<&Value>,
    found: impl Iterator<Item = &'a str>,
) -> Result<Vec<Projection>, String> {
    let known = |name: &str| Projection::ALL.into_iter().find(|part| part.module() == name);
    let mut targets = BTreeSet::new();
    match value {
        Some(Value::Array(names)) => {
            for name in names {
                let last = name.as_str().and_then(|name| name.rsplit('.').next());
                targets.insert(last.and_then(known).ok_or_else(|| {
                    let names = Projection::ALL.map(Projection::module).join(", ");
                    format!("target_modules: expected some of {names}, found {name}")
                })?);
            }
        }
        // A pattern: what it matched has tensors.
        Some(Value::String(_)) => {
            let modules = found.filter_map(|name| name.strip_suffix(".lora_A.weight"));
            targets.extend(modules.filter_map(|name| known(name.rsplit('.').next()?)));
        }
        _ => {}
    }
    match targets.is_empty() {
        true => Err("target_modules: expected at least one projection".into()),
        false => Ok(targets.into_iter().collect()),
    }
}

/// The tokens whose rows an adapter replaces: a list, or one for each layer that has such rows.
fn tokens(value: Option<&Value>) -> Result<Vec<u32>, String> {
    let expected = format!("trainable_token_indices: expected tokens of {ROWS}, each once");
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(layers)) => {
            let other = layers.keys().find(|layer| layer.rsplit('.').next() != Some(ROWS));
            if let Some(other) = other {
                return Err(format!("{expected}, found layer {other}"));
            }
            layers.values().next()
        }
        list => list,
    };
    let mut tokens = Vec::new();
    for value in list.and_then(Value::as_array).ok_or(&expected)? {
        let token = value.as_u64().and_then(|token| u32::try_from(token).ok());
        match token.filter(|token| !tokens.contains(token)) {
            Some(token) => tokens.push(token),
            None => return Err(format!("{expected}, found {value}")),
        }
    }
    Ok(tokens)
}

/// An adapter of one base model.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    config: AdapterConfig,
    tensors: Vec<TensorSpec>,
    weights: Vec<f32>,
}

impl Adapter {
    /// An adapter whose weights are drawn by `draw(i)`, where i counts them in the order of
    /// [`Adapter::weights`].
    pub fn new(
        config: AdapterConfig,
        base: &DecoderConfig,
        draw: impl FnMut(usize) -> f32,
    ) -> Self {
        let tensors = config.tensors(base);
        let count = tensors.iter().map(TensorSpec::len).sum();
        Self { config, tensors, weights: (0..count).map(draw).collect() }
    }

    /// Loads an adapter of a base model from PEFT's folder.
    ///
    /// Errors: [`Error::Io`] for what cannot be opened, [`Error::Model`] for what is not
    /// implemented, missing, extra, mis-shaped or not finite.
    pub fn open(folder: &Path, base: &DecoderConfig) -> Result<Self> {
        let adapter = Self::open_growing(folder, &mut base.clone())?;
        adapter.config.check(base).map(|()| adapter)
    }

    /// As [`Adapter::open`], for an adapter that may have rows of tokens which follow the base
    /// model's: the vocabulary grows by them.
    ///
    /// Errors: those of [`Adapter::open`].
    pub fn open_growing(folder: &Path, base: &mut DecoderConfig) -> Result<Self> {
        let path = folder.join(CONFIG);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let tensors = Tensors::single(&folder.join(WEIGHTS))?;
        let config = AdapterConfig::parse(&path.display().to_string(), &bytes, tensors.names())?;
        let known = base.vocabulary;
        base.vocabulary += config.tokens.iter().filter(|token| **token as usize >= known).count();
        Self::read(config, base, &tensors)
    }

    /// Copies an adapter's tensors.
    ///
    /// Errors: see [`Tensors::check`] and [`Tensors::row`].
    pub fn read(config: AdapterConfig, base: &DecoderConfig, tensors: &Tensors) -> Result<Self> {
        config.check(base)?;
        let expected = config.tensors(base);
        tensors.check(&expected, |_| false).map_err(|error| {
            Error::Model(format!("{error}: is the adapter of this base model, and whole?"))
        })?;
        let mut weights = Vec::with_capacity(expected.iter().map(TensorSpec::len).sum());
        for tensor in &expected {
            weights.extend(tensors.vector(&tensor.name)?);
        }
        Ok(Self { config, tensors: expected, weights })
    }

    /// What it is.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// All weights, layer by layer and target by target A, then B; then the rows it replaces.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// All weights, to be changed by the optimiser.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// Names and shapes of the weights.
    pub(super) fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The tokens whose embeddings it replaces, and what by, (tokens, hidden).
    pub fn rows(&self) -> (&[u32], &[f32]) {
        let tokens = &self.config.tokens;
        let count = if tokens.is_empty() { 0 } else { self.tensors.last().map_or(0, |t| t.len()) };
        (tokens, &self.weights[self.weights.len() - count..])
    }

    /// A (rank, inputs) and B (outputs, rank) of a projection, if the adapter changes it.
    ///
    /// Panics: if there is no such layer.
    pub fn factors(&self, layer: usize, projection: Projection) -> Option<(&[f32], &[f32])> {
        let [down, up] = self.places(layer, projection)?;
        Some((&self.weights[down], &self.weights[up]))
    }

    /// Where A and B of a projection lie in the weights, if the adapter changes it.
    ///
    /// Panics: if there is no such layer.
    pub fn places(&self, layer: usize, projection: Projection) -> Option<[Range<usize>; 2]> {
        let targets = &self.config.targets;
        let at = 2 * (layer * targets.len() + targets.iter().position(|t| *t == projection)?);
        let start = self.tensors[..at].iter().map(TensorSpec::len).sum::<usize>();
        let middle = start + self.tensors[at].len();
        Some([start..middle, middle..middle + self.tensors[at + 1].len()])
    }

    /// The two files, each with its name.
    ///
    /// Errors: [`Error::Model`] when the format cannot hold them.
    pub fn to_files(&self) -> Result<[(&'static str, Vec<u8>); 2]> {
        let weights = weights::write(&self.tensors, &self.weights, "adapter")?;
        Ok([(CONFIG, self.config.to_json().into_bytes()), (WEIGHTS, weights)])
    }
}
