//! `kind = "train-retriever"`: sequences to a SASRec checkpoint.

use super::{DeviceSpec, Problems};
use serde::{Deserialize, Serialize};

/// The job as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainRetrieverSpec {
    /// `run:JOB`, a prepare job.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub sequences: String,
    /// On what it learns: `cpu`, or `cuda:N`, one device, whose last bits differ from the
    /// processor's; widths are multiples of 8 up to 512 there, those of heads at most 128. Default
    /// `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")] // a job without it keeps its run
    pub device: DeviceSpec,
    /// The network's shape.
    pub model: ModelSpec,
    /// What is minimised.
    pub loss: LossSpec,
    /// How.
    pub optimizer: OptimizerSpec,
    /// How long and in which pieces.
    pub train: TrainSpec,
}

/// `[model]`: SASRec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSpec {
    /// Width of embeddings and hidden vectors, 8 to 1024. Default 64.
    pub hidden: usize,
    /// Transformer blocks, 1 to 16. Default 2.
    pub blocks: usize,
    /// Attention heads; divides `hidden`. Default 1.
    pub heads: usize,
    /// The latest interactions that are looked at, 2 to 1000. Default 200.
    pub length_max: usize,
    /// Share of activations dropped in training, 0 to 0.9. Default 0.2.
    pub dropout: f32,
}

/// `[loss]`, by `kind`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossSpec {
    /// Cross-entropy over the whole catalogue.
    #[default]
    Softmax,
    /// Cross-entropy over sampled items, corrected by the log of their sampling probability.
    SampledSoftmax {
        /// Negatives for each position, 1 to 65536.
        negatives: usize,
    },
    /// Binary cross-entropy with many negatives and calibrated positives (gSASRec).
    Gbce {
        /// Negatives for each position, 1 to 4096.
        negatives: usize,
        /// Calibration: 0 is plain BCE, 1 full calibration.
        t: f32,
    },
    /// The original: binary cross-entropy with one uniform negative for each position.
    Bce,
}

/// `[optimizer]`: AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSpec {
    /// Default 0.001.
    pub learning_rate: f32,
    /// Decoupled decay, a step's share of the learning rate. Default 0.
    pub weight_decay: f32,
    /// Steps over which the learning rate rises to its value. Default 0.
    pub warmup_steps: u64,
    /// Gradients with a larger norm are scaled down to it; 0 leaves them. Default 0.
    pub clip_norm: f32,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSpec {
    /// Everything random follows from it. Default 42.
    pub seed: u64,
    /// Sequences of a step, 1 to 65536. Default 128.
    pub batch: usize,
    /// Whether a history longer than `length_max` is cut into several sequences, so that all of it
    /// is learned from; otherwise its latest part alone. Default false.
    pub sliding: bool,
    /// Passes over all users, at most. Default 200.
    pub epochs_max: u64,
    /// Passes between two validations. Default 1.
    pub validate_every: u64,
    /// Validations without a better NDCG@10 after which training stops. Default 10.
    pub patience: u64,
    /// Steps between checkpoints; 0 is one for each pass. Default 0.
    pub checkpoint_steps: u64,
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self { hidden: 64, blocks: 2, heads: 1, length_max: 200, dropout: 0.2 }
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self { learning_rate: 1e-3, weight_decay: 0.0, warmup_steps: 0, clip_norm: 0.0 }
    }
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            seed: 42,
            batch: 128,
            sliding: false,
            epochs_max: 200,
            validate_every: 1,
            patience: 10,
            checkpoint_steps: 0,
        }
    }
}

impl OptimizerSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.range("optimizer.learning_rate", self.learning_rate, 1e-7, 1.0);
        problems.range("optimizer.weight_decay", self.weight_decay, 0.0, 1.0);
        problems.range("optimizer.clip_norm", self.clip_norm, 0.0, 1e6);
    }
}

impl TrainRetrieverSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("sequences", &self.sequences);
        self.device.check_one("device", "a retriever", problems);
        let model = &self.model;
        problems.range("model.hidden", model.hidden, 8, 1024);
        problems.range("model.blocks", model.blocks, 1, 16);
        problems.range("model.length_max", model.length_max, 2, 1000);
        problems.range("model.dropout", model.dropout, 0.0, 0.9);
        if model.heads == 0 || !model.hidden.is_multiple_of(model.heads) {
            let found = format!("{} does not divide model.hidden = {}", model.heads, model.hidden);
            problems.add("model.heads", found);
        }
        if !self.device.is_cpu() {
            let (hidden, wide) = (model.hidden, model.hidden / model.heads.max(1));
            if !hidden.is_multiple_of(8) || hidden > 512 {
                let found = format!("expected a multiple of 8, at most 512, on a device: {hidden}");
                problems.add("model.hidden", found);
            }
            if wide > 128 {
                let found = format!("expected heads of at most 128 on a device, found {wide}");
                problems.add("model.heads", found);
            }
        }
        match self.loss {
            LossSpec::SampledSoftmax { negatives } => {
                problems.range("loss.negatives", negatives, 1, 65_536);
            }
            LossSpec::Gbce { negatives, t } => {
                problems.range("loss.negatives", negatives, 1, 4096);
                problems.range("loss.t", t, 0.0, 1.0);
            }
            LossSpec::Softmax | LossSpec::Bce => {}
        }
        self.optimizer.check(problems);
        problems.range("train.batch", self.train.batch, 1, 65_536);
        problems.range("train.epochs_max", self.train.epochs_max, 1, 100_000);
        problems.range("train.validate_every", self.train.validate_every, 1, 10_000);
        problems.range("train.patience", self.train.patience, 1, 10_000);
    }
}
