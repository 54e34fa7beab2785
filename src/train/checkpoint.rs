//! Everything a training run needs to go on, as bytes.

use super::settings::TrainSettings;
use super::step::Moments;
use crate::error::{Error, Result};
use crate::model::retriever::{Retriever, RetrieverConfig};
use crate::model::weights::{self, TensorSpec};
use serde::{Deserialize, Serialize};

/// A training run between two steps.
#[derive(Clone)]
pub struct State {
    /// The weights.
    pub retriever: Retriever,
    /// The optimiser.
    pub moments: Moments,
    /// The weights of the best validation so far.
    pub best: Vec<f32>,
    /// The rest.
    pub counters: Counters,
}

/// What is no tensor. Fractions are kept as bits, since decimal text may not give them back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Steps done.
    pub step: u64,
    /// Bits of the f64 sum of the losses of this epoch's positions.
    pub loss_bits: u64,
    /// How many positions that were.
    pub positions: u64,
    /// For each epoch done, bits of the f64 mean loss of its positions.
    pub losses: Vec<u64>,
    /// Epoch of each validation, and bits of its f64 NDCG@10.
    pub curve: Vec<(u64, u64)>,
}

/// The metadata of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Header {
    settings: TrainSettings,
    config: RetrieverConfig,
    data: String,
    counters: Counters,
}

const PARTS: [&str; 4] = ["weights", "mean", "square", "best"];

fn tensors(parameters: usize) -> Vec<TensorSpec> {
    PARTS.map(|name| TensorSpec { name: name.into(), shape: vec![parameters] }).into()
}

impl State {
    /// Writes a checkpoint of a run with these settings over this data.
    pub fn to_bytes(&self, settings: &TrainSettings, data: &str) -> Result<Vec<u8>> {
        let header = Header {
            settings: settings.clone(),
            config: self.retriever.config().clone(),
            data: data.into(),
            counters: self.counters.clone(),
        };
        let header = serde_json::to_string(&header).map_err(|e| Error::Model(e.to_string()))?;
        let parts =
            [self.retriever.parameters(), &self.moments.mean, &self.moments.square, &self.best];
        weights::write(&tensors(self.best.len()), &parts.concat(), &header)
    }

    /// Replaces the state by a checkpoint's.
    ///
    /// Errors: [`Error::Model`] when the checkpoint is damaged, or is of another run: other
    /// settings, another catalogue or other sequences.
    pub fn restore(&mut self, bytes: &[u8], settings: &TrainSettings, data: &str) -> Result<()> {
        const WHAT: &str = "checkpoint";
        let header: Header = serde_json::from_str(&weights::metadata(WHAT, bytes)?)
            .map_err(|e| Error::Model(format!("{WHAT}: header: {e}")))?;
        let found = TrainSettings { threads: settings.threads, ..header.settings };
        if found != *settings || header.config != *self.retriever.config() || header.data != data {
            return Err(Error::Model(format!(
                "{WHAT}: was made with other settings or data: expected {settings:?} on {data}, \
                 found {found:?} on {}: remove it to start again",
                header.data
            )));
        }
        let count = self.best.len();
        let all = weights::read(WHAT, bytes, &tensors(count))?;
        self.retriever.parameters_mut().copy_from_slice(&all[..count]);
        self.moments.mean.copy_from_slice(&all[count..2 * count]);
        self.moments.square.copy_from_slice(&all[2 * count..3 * count]);
        self.best.copy_from_slice(&all[3 * count..]);
        self.counters = header.counters;
        Ok(())
    }
}
