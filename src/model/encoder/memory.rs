//! How much of a device's memory an encoder takes.

use super::resident::Resident;
use super::{BertConfig, Encoder, ON_PROCESSOR};
use crate::error::{Error, Result};
use crate::model::decoder::Memory;
use crate::model::resident::Heads;
use serde_json::Value;

impl Encoder {
    /// What the encoder of a `config.json` takes on a device, see [`BertConfig::device_memory`].
    /// `what` names the file in messages.
    ///
    /// Errors: [`Error::Device`] for one that [`Encoder::on`] refuses, [`Error::Model`] for a file
    /// that cannot be read.
    pub fn device_memory(what: &str, config: &[u8], tokens_max: usize) -> Result<Memory> {
        let value: Value = serde_json::from_slice(config)
            .map_err(|e| Error::Model(format!("{what}: not JSON: {e}")))?;
        match value.get("model_type").and_then(Value::as_str) {
            Some("bert") => BertConfig::parse(what, config)?.device_memory(tokens_max),
            _ => Err(Error::Device(ON_PROCESSOR.to_owned())),
        }
    }
}

impl BertConfig {
    /// What a BERT takes on a device, with room for batches of so many tokens, or of one text.
    ///
    /// Errors: [`Error::Device`] for dimensions that the kernels do not take.
    pub fn device_memory(&self, tokens_max: usize) -> Result<Memory> {
        if let Some(why) = Resident::refusal(self) {
            return Err(Error::Device(why));
        }
        let Self { vocabulary, hidden, inner, layers, heads, context_max, kinds, .. } = *self;
        let (bf16, f32) = (size_of::<u16>(), size_of::<f32>());
        let queries = heads * Heads::new(self.width())?.wide;
        let sites = [[3 * queries, hidden], [hidden, queries], [inner, hidden], [hidden, inner]];
        let site = |[outputs, inputs]: [usize; 2]| outputs * (inputs * bf16 + f32);
        let norm = 2 * hidden * f32;
        let layer = sites.into_iter().map(site).sum::<usize>() + 2 * norm;
        let tables = (vocabulary + context_max + kinds) * hidden * f32;
        let widest = (3 * queries).max(inner).max(hidden);
        let token = (3 * hidden + 4 + heads) * f32 + (hidden + widest + 4 * queries + inner) * bf16;
        Ok(Memory {
            weights_bytes: tables + norm + layers * layer,
            batch_bytes: tokens_max.max(context_max) * token,
        })
    }
}
