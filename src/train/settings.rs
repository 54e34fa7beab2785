//! What a training run is told.

use crate::error::{Error, Result};
use crate::model::retriever::RetrieverConfig;
use serde::{Deserialize, Serialize};

/// What is minimised, averaged over the positions of a batch. Negatives are drawn for each
/// position.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Softmax over the whole catalogue.
    CrossEntropy,
    /// Softmax over the target and negatives drawn by popularity, corrected by the logarithm of how
    /// often each is drawn.
    SampledSoftmax {
        /// Negatives a position.
        negatives: usize,
    },
    /// Binary cross-entropy with the target's probability to the power β = 1 − t · (1 − α), where α
    /// is the share of the catalogue that is drawn. Source: Petrov and Macdonald, gSASRec (2023).
    Gbce {
        /// Negatives a position, uniform over what the user has not seen.
        negatives: usize,
        /// t in [0, 1]: 0 is plain binary cross-entropy, 1 undoes the overconfidence altogether.
        calibration: f32,
    },
    /// Binary cross-entropy with one negative: the original's.
    Bce,
}

impl Loss {
    /// How many items each position is scored against besides its target; none for all of them.
    pub fn negatives(&self) -> Option<usize> {
        match self {
            Loss::CrossEntropy => None,
            Loss::SampledSoftmax { negatives } | Loss::Gbce { negatives, .. } => Some(*negatives),
            Loss::Bce => Some(1),
        }
    }

    /// How many items each position is scored against, of so many.
    pub(super) fn candidates(&self, items: usize) -> usize {
        self.negatives().map_or(items, |negatives| negatives + 1)
    }

    /// The power of the target's probability in the binary losses.
    pub fn beta(&self, items: usize) -> f32 {
        match self {
            Loss::Gbce { negatives, calibration } => {
                let alpha = (*negatives as f32 / (items.max(2) - 1) as f32).min(1.0);
                1.0 - calibration * (1.0 - alpha)
            }
            _ => 1.0,
        }
    }
}

/// What a training run is told. All but `threads` is part of what is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Width of the model.
    pub hidden: usize,
    /// Attention and feed-forward pairs.
    pub blocks: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// The latest items of a history that count.
    pub length_max: usize,
    /// The share of activations that is dropped in training.
    pub dropout: f32,
    /// What is minimised.
    pub loss: Loss,
    /// Sequences in a batch.
    pub batch: usize,
    /// AdamW's learning rate, after the warm-up.
    pub rate: f32,
    /// AdamW's decoupled weight decay.
    pub decay: f32,
    /// Steps in which the learning rate rises linearly from 0.
    pub warmup_steps: u64,
    /// The largest norm of a batch's gradient, which is scaled down to it; 0 for no limit.
    pub gradient_norm_max: f32,
    /// A history longer than `length_max` is cut into several sequences, so that all of it is
    /// learned from; otherwise its latest part alone.
    pub sliding: bool,
    /// Passes over the users, at most.
    pub epochs_max: u64,
    /// Epochs from one validation to the next.
    pub validate_epochs: u64,
    /// Validations without a better NDCG@10 before training stops.
    pub patience: u64,
    /// Steps from one checkpoint to the next; 0 for one after each epoch only.
    pub checkpoint_steps: u64,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Threads; what is learned does not depend on them.
    #[serde(skip)]
    pub threads: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            hidden: 64,
            blocks: 2,
            heads: 2,
            length_max: 200,
            dropout: 0.2,
            loss: Loss::CrossEntropy,
            batch: 128,
            rate: 1e-3,
            decay: 0.0,
            warmup_steps: 100,
            gradient_norm_max: 5.0,
            sliding: false,
            epochs_max: 100,
            validate_epochs: 1,
            patience: 10,
            checkpoint_steps: 0,
            seed: 0,
            threads: 1,
        }
    }
}

/// Errors: [`Error::Model`] that names every setting, with its value, that is not good.
pub(super) fn refuse(settings: &[(&str, f64, bool)]) -> Result<()> {
    let bad = settings.iter().filter(|(_, _, good)| !good);
    let problems: Vec<String> =
        bad.map(|(name, value, _)| format!("{name} = {value}: out of range")).collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Model(format!("training: {}", problems.join("; ")))),
    }
}

impl TrainSettings {
    /// The model that is trained.
    pub fn retriever(&self, items: usize) -> RetrieverConfig {
        let TrainSettings { hidden, blocks, heads, length_max, .. } = *self;
        RetrieverConfig { items, hidden, blocks, heads, length_max }
    }

    /// The learning rate of a step.
    pub(super) fn rate_at(&self, step: u64) -> f32 {
        let warmth = (step + 1) as f32 / self.warmup_steps.max(1) as f32;
        self.rate * warmth.min(1.0)
    }

    /// Errors: [`Error::Model`] that names every setting out of its range.
    pub fn check(&self) -> Result<()> {
        let calibration = match self.loss {
            Loss::Gbce { calibration, .. } => calibration,
            _ => 0.0,
        };
        refuse(&[
            ("dropout", f64::from(self.dropout), (0.0..1.0).contains(&self.dropout)),
            ("loss.calibration", f64::from(calibration), (0.0..=1.0).contains(&calibration)),
            ("loss.negatives", 0.0, self.loss.negatives() != Some(0)),
            ("batch", self.batch as f64, self.batch > 0),
            ("rate", f64::from(self.rate), self.rate > 0.0 && self.rate.is_finite()),
            ("decay", f64::from(self.decay), self.decay >= 0.0 && self.decay.is_finite()),
            ("gradient_norm_max", f64::from(self.gradient_norm_max), self.gradient_norm_max >= 0.0),
            ("epochs_max", self.epochs_max as f64, self.epochs_max > 0),
            ("validate_epochs", self.validate_epochs as f64, self.validate_epochs > 0),
            ("patience", self.patience as f64, self.patience > 0),
            ("threads", self.threads as f64, self.threads > 0),
        ])?;
        self.retriever(1).check()
    }
}
