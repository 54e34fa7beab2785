//! How much of a device's memory an encoder takes.

use super::resident::{LearningRoom, Resident, Room, Size};
use super::{BertConfig, Encoder, ON_PROCESSOR, Trained};
use crate::device::cuda::Counted;
use crate::error::{Error, Result};
use crate::model::decoder::Memory;
use crate::model::resident::{Heads, STATE, filled};
use serde_json::Value;
use std::path::Path;

impl Encoder {
    /// What the encoder of a `config.json` takes on a device, see [`BertConfig::device_memory`].
    /// `what` names the file in messages.
    ///
    /// Errors: [`Error::Device`] for one that [`Encoder::on`] refuses, [`Error::Model`] for a file
    /// that cannot be read.
    pub fn device_memory(what: &str, config: &[u8], tokens_max: usize) -> Result<Memory> {
        Self::bert_config(what, config)?.device_memory(tokens_max)
    }

    /// What the encoder in a folder takes on a device when it learns, see
    /// [`BertConfig::learning_memory`].
    ///
    /// Errors: [`Error::Io`], and those of [`Encoder::device_memory`].
    pub fn learning_memory(folder: &Path, trained: &Trained, tokens_max: usize) -> Result<Memory> {
        let path = folder.join("config.json");
        let config = std::fs::read(&path).map_err(Error::io("open", &path))?;
        let what = path.display().to_string();
        Self::bert_config(&what, &config)?.learning_memory(trained, tokens_max)
    }

    fn bert_config(what: &str, config: &[u8]) -> Result<BertConfig> {
        let value: Value = serde_json::from_slice(config)
            .map_err(|e| Error::Model(format!("{what}: not JSON: {e}")))?;
        match value.get("model_type").and_then(Value::as_str) {
            Some("bert") => BertConfig::parse(what, config),
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
        let heads = Heads::new(self.width())?;
        let counted = Counted::default();
        let room = Room::passing(&counted, self.size(heads, [0; 4], tokens_max))?;
        let batch_bytes = counted.bytes();
        drop(room);
        Ok(Memory { weights_bytes: self.weights_bytes(heads), batch_bytes })
    }

    /// As [`BertConfig::device_memory`], of one that learns: parameters, gradient and moments with
    /// the weights, what the backward pass needs with the batches.
    ///
    /// Errors: those of [`BertConfig::device_memory`].
    pub fn learning_memory(&self, trained: &Trained, tokens_max: usize) -> Result<Memory> {
        let mut memory = self.device_memory(tokens_max)?;
        let heads = Heads::new(self.width())?;
        // Of a layer's sites, the first one is three projections.
        let filled = |rank: usize| [3, 1, 1, 1].map(|parts| filled(parts * rank));
        let (numbers, ranks) = match *trained {
            Trained::Heads => return Ok(memory),
            Trained::Full => (self.numbers(heads), [0; 4]),
            Trained::Lora { rank, .. } => {
                let sites = self.sites(heads).into_iter().zip(filled(rank));
                let layer: usize = sites.map(|([o, i], ranks)| ranks * (o + i)).sum();
                let numbers = self.layers * layer;
                memory.weights_bytes += numbers * size_of::<u16>(); // as products read them
                (numbers, filled(rank))
            }
        };
        memory.weights_bytes += STATE * numbers * size_of::<f32>();
        let (counted, size) = (Counted::default(), self.size(heads, ranks, tokens_max));
        let rooms = (Room::passing(&counted, size)?, LearningRoom::new(&counted, size)?);
        memory.batch_bytes = counted.bytes();
        drop(rooms);
        Ok(memory)
    }

    /// Outputs and inputs of a layer's sites, in the device's heads.
    fn sites(&self, heads: Heads) -> [[usize; 2]; 4] {
        let queries = self.heads * heads.wide;
        let Self { hidden, inner, .. } = *self;
        [[3 * queries, hidden], [hidden, queries], [inner, hidden], [hidden, inner]]
    }

    fn weights_bytes(&self, heads: Heads) -> usize {
        let weight = |[outputs, inputs]: [usize; 2]| outputs * inputs;
        let products = self.layers * self.sites(heads).into_iter().map(weight).sum::<usize>();
        self.numbers(heads) * size_of::<f32>() - products * (size_of::<f32>() - size_of::<u16>())
    }

    /// Weights, biases, norms and tables.
    fn numbers(&self, heads: Heads) -> usize {
        let Self { vocabulary, hidden, layers, context_max, kinds, .. } = *self;
        let site = |[outputs, inputs]: [usize; 2]| outputs * (inputs + 1);
        let layer = self.sites(heads).into_iter().map(site).sum::<usize>() + 4 * hidden;
        (vocabulary + context_max + kinds + 2) * hidden + layers * layer
    }

    /// How large places are, with so many ranks at each site.
    fn size(&self, heads: Heads, ranks: [usize; 4], tokens_max: usize) -> Size<'_> {
        let mut columns = ranks;
        for (columns, [outputs, _]) in columns.iter_mut().zip(self.sites(heads)) {
            *columns += outputs;
        }
        let (tokens, ranks) = (tokens_max.max(self.context_max), ranks.into_iter().max());
        Size { config: self, heads, columns, ranks: ranks.unwrap_or(0), tokens }
    }
}
