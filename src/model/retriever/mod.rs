//! SASRec: a causal transformer over a user's items whose output is scored against the items' own
//! embeddings. Layer norms come before attention and feed-forward; the names of tensors are those
//! of the widespread PyTorch version.
//!
//! Source: Kang and McAuley, Self-Attentive Sequential Recommendation (2018).

mod config;
mod layout;
mod pass;
mod resident;
mod tokens;

pub use config::RetrieverConfig;
pub use pass::Activations;
pub use resident::{Learning, LossRule, Resident, ResidentLearner, rows_at_once};
pub use tokens::Tokens;

pub use super::resident::{Follow, Parameters};

use super::weights;
use crate::device::Cpu;
use crate::error::{Error, Result};
use crate::types::{ItemId, mix64, normal};
use layout::Layout;

/// Tokens that are encoded together: enough to fill the kernels, few enough to stay in the caches.
const ENCODE_TOKENS: usize = 2048;

/// A retriever with its weights.
#[derive(Clone, Debug)]
pub struct Retriever {
    config: RetrieverConfig,
    layout: Layout,
    parameters: Vec<f32>,
}

impl Retriever {
    /// A retriever with random weights: matrices normal with variance 2 / (rows + columns), biases
    /// 0, norms 1.
    ///
    /// Errors: see [`RetrieverConfig::check`].
    pub fn random(config: RetrieverConfig, seed: u64) -> Result<Self> {
        config.check()?;
        let layout = Layout::of(&config);
        let mut parameters = Vec::with_capacity(layout.len());
        for (t, tensor) in layout.tensors().iter().enumerate() {
            let key = mix64(seed ^ mix64(t as u64));
            let norm = tensor.name.contains("layernorm") && tensor.name.ends_with("weight");
            match tensor.shape[..] {
                [rows, columns] => {
                    let deviation = (2.0 / (rows + columns) as f64).sqrt();
                    let draws = (0..tensor.len() as u64).map(|i| normal(mix64(key ^ i)));
                    parameters.extend(draws.map(|x| (x * deviation) as f32));
                }
                _ => parameters.resize(parameters.len() + tensor.len(), f32::from(norm)),
            }
        }
        Ok(Self { config, layout, parameters })
    }

    /// The dimensions.
    pub fn config(&self) -> &RetrieverConfig {
        &self.config
    }

    /// All weights, tensor after tensor.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// All weights, to be changed by the optimiser.
    pub fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// The items' embeddings, (items, hidden).
    pub fn item_embeddings(&self) -> &[f32] {
        &self.parameters[self.layout.items.clone()]
    }

    /// The part of a gradient, laid out like [`Retriever::parameters`], that belongs to the items.
    pub fn item_gradient<'a>(&self, gradient: &'a mut [f32]) -> &'a mut [f32] {
        &mut gradient[self.layout.items.clone()]
    }

    /// The last position's hidden vector of each user, (users, hidden): the score of item v is its
    /// product with row v of [`Retriever::item_embeddings`]. Of a longer history the latest
    /// `length_max` items count; an empty one gives zeros. A row's bits do not depend on the other
    /// users.
    ///
    /// Errors: [`Error::Model`] for an item that the model has no embedding of.
    pub fn encode(&self, histories: &[&[ItemId]]) -> Result<Vec<f32>> {
        self.config.check_histories(histories)?;
        let hidden = self.config.hidden;
        let mut out = Vec::with_capacity(histories.len() * hidden);
        let (mut tokens, mut activations) = (Tokens::default(), Activations::default());
        let mut rest = histories;
        while !rest.is_empty() {
            tokens.clear();
            let mut taken = 0;
            while taken < rest.len() && (taken == 0 || tokens.len() < ENCODE_TOKENS) {
                tokens.push(rest[taken], self.config.length_max);
                taken += 1;
            }
            self.forward(&Cpu, &tokens, &mut activations);
            for pair in tokens.offsets().windows(2) {
                if pair[0] == pair[1] {
                    out.resize(out.len() + hidden, 0.0);
                } else {
                    let last = pair[1] as usize - 1;
                    out.extend(&activations.hidden()[last * hidden..(last + 1) * hidden]);
                }
            }
            rest = &rest[taken..];
        }
        Ok(out)
    }

    /// A safetensors file with the configuration as JSON in its metadata.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let config =
            serde_json::to_string(&self.config).map_err(|e| Error::Model(e.to_string()))?;
        weights::write(self.layout.tensors(), &self.parameters, &config)
    }

    /// Reads what [`Retriever::to_bytes`] wrote. `what` names the file in messages.
    ///
    /// Errors: [`Error::Model`] that names what is missing, extra, mis-shaped or not finite.
    pub fn from_bytes(what: &str, bytes: &[u8]) -> Result<Self> {
        let config: RetrieverConfig = serde_json::from_str(&weights::metadata(what, bytes)?)
            .map_err(|e| Error::Model(format!("{what}: retriever configuration: {e}")))?;
        config.check()?;
        let layout = Layout::of(&config);
        let parameters = weights::read(what, bytes, layout.tensors())?;
        if let Some(i) = parameters.iter().position(|x| !x.is_finite()) {
            let name = layout.name_at(i);
            return Err(Error::Model(format!("{what}: tensor {name}: holds NaN or infinity")));
        }
        Ok(Self { config, layout, parameters })
    }
}
