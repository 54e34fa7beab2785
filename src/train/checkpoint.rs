//! Everything a training run needs to go on, as bytes.

use super::update::Moments;
use crate::error::{Error, Result};
use crate::model::weights::{self, TensorSpec};
use serde::{Deserialize, Serialize};

/// A training run between two steps, without its weights.
#[derive(Clone)]
pub struct State {
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
    /// Step of each validation, and bits of its f64 value.
    pub curve: Vec<(u64, u64)>,
}

impl Counters {
    /// The mean loss of each epoch done, in nats.
    pub fn losses(&self) -> impl Iterator<Item = f64> {
        self.losses.iter().map(|bits| f64::from_bits(*bits))
    }

    /// Step and value of each validation.
    pub fn curve(&self) -> impl Iterator<Item = (u64, f64)> {
        self.curve.iter().map(|(step, bits)| (*step, f64::from_bits(*bits)))
    }
}

/// The metadata of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Header {
    identity: String,
    counters: Counters,
    /// BLAKE3 of the counters and the tensors, 64 hex digits.
    checksum: String,
}

const PARTS: [&str; 4] = ["weights", "mean", "square", "best"];

fn tensors(parameters: usize) -> Vec<TensorSpec> {
    PARTS.map(|name| TensorSpec { name: name.into(), shape: vec![parameters] }).into()
}

impl State {
    /// Before the first step.
    pub fn new(weights: &[f32]) -> Self {
        let moments = Moments::new(weights.len());
        Self { moments, best: weights.to_vec(), counters: Counters::default() }
    }

    /// Writes a checkpoint of a run.
    pub fn to_bytes(&self, weights: &[f32], identity: &str) -> Result<Vec<u8>> {
        let parts = [weights, &self.moments.mean, &self.moments.square, &self.best].concat();
        let counters = self.counters.clone();
        let checksum = checksum(&counters, &parts)?;
        let header = Header { identity: identity.into(), counters, checksum };
        let header = serde_json::to_string(&header).map_err(|e| Error::Model(e.to_string()))?;
        weights::write(&tensors(self.best.len()), &parts, &header)
    }

    /// Replaces the state by a checkpoint's, and returns its weights. `what` names the checkpoint
    /// in messages.
    ///
    /// Errors: [`Error::Model`] when the checkpoint is damaged, or is of another run: other
    /// settings, another model or other data.
    pub fn restore(&mut self, what: &str, bytes: &[u8], identity: &str) -> Result<Vec<f32>> {
        let refused = |why: String| Error::Model(format!("{why}: remove it to start again"));
        let header = weights::metadata(what, bytes).map_err(|e| refused(e.to_string()))?;
        let header: Header = serde_json::from_str(&header)
            .map_err(|e| refused(format!("{what}: its header cannot be read: {e}")))?;
        if header.identity != identity {
            return Err(refused(format!(
                "{what}: was made with other settings or data: expected {identity}, found {}",
                header.identity
            )));
        }
        let count = self.best.len();
        let read = weights::read(what, bytes, &tensors(count));
        let mut all = read.map_err(|e| refused(e.to_string()))?;
        let found = checksum(&header.counters, &all)?;
        if header.checksum != found {
            let [expected, found] = [&header.checksum, &found].map(|sum| short(sum));
            return Err(refused(format!(
                "{what}: expected the checksum {expected}, found {found}: it was changed after it \
                 was written"
            )));
        }
        self.moments.mean.copy_from_slice(&all[count..2 * count]);
        self.moments.square.copy_from_slice(&all[2 * count..3 * count]);
        self.best.copy_from_slice(&all[3 * count..]);
        self.counters = header.counters;
        all.truncate(count);
        Ok(all)
    }
}

/// The first digits of a checksum, for messages.
fn short(checksum: &str) -> &str {
    checksum.get(..8).unwrap_or(checksum)
}

fn checksum(counters: &Counters, tensors: &[f32]) -> Result<String> {
    const HASHED_AT_ONCE: usize = 1 << 14;
    let counters = serde_json::to_vec(counters).map_err(|e| Error::Model(e.to_string()))?;
    let mut hash = blake3::Hasher::new();
    hash.update(&counters);
    for numbers in tensors.chunks(HASHED_AT_ONCE) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        hash.update(&bytes);
    }
    Ok(hash.finalize().to_hex().to_string())
}
