//! `kind = "train-encoder"`: a teacher's judgements distilled into two text encoders.

use super::{DeviceSpec, LoraSpec, OptimizerSpec, PrecisionSpec, Problems};
use serde::{Deserialize, Serialize, Serializer};
use std::path::Path;

/// The job as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainEncoderSpec {
    /// `run:JOB`, a label job: what is learned, and how users and items are put into words.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub labels: String,
    /// On what it learns: `cpu`, or `cuda:N`, one device, for an encoder of BERT's kind, whose last
    /// bits differ from the processor's there. Heads alone learn on the processor, from what the
    /// device has read. Default `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")] // a job without it keeps its run
    pub device: DeviceSpec,
    /// The encoder to begin with.
    pub base: EncoderBaseSpec,
    /// What of it is trained: `heads` alone, `lora` adapters too, or `full`: every weight.
    pub trained: EncoderTrained,
    /// The adapters of `trained = "lora"`.
    pub lora: LoraSpec,
    /// What is minimised.
    pub loss: EncoderLossSpec,
    /// How it learns.
    pub optimizer: OptimizerSpec,
    /// How long and in which pieces.
    pub train: EncoderTrainSpec,
}

/// `[base]`: a folder with a text encoder, or the shape of a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderBaseSpec {
    /// A Hugging Face folder: `config.json`, `tokenizer.json`, safetensors. Left out, an encoder of
    /// the shape below begins with random weights, and its words are those of the texts.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "name")]
    pub path: Option<String>, // what it holds is hashed apart
    /// In what the folder's weights are kept: `f32` or `bf16`, which is several times as fast and
    /// needs half the memory; as the files have them when left out. Every weight is trained in f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionSpec>,
    /// Layers of a new encoder, 1 to 64. Default 2.
    pub layers: usize,
    /// Width, 8 to 4096. Default 64.
    pub hidden: usize,
    /// Heads; divides `hidden`. Default 4.
    pub heads: usize,
    /// Width between the two forward products, 8 to 16384. Default 128.
    pub inner: usize,
    /// Words of a new encoder's vocabulary, the most frequent, 100 to 1000000. Default 8000.
    pub words_max: usize,
    /// Width of the vectors that are compared, 8 to 4096; the encoder's own when left out.
    pub width: Option<usize>,
    /// Tokens of a text, 8 to 8192; what is beyond them is left out. Default 128.
    pub tokens_max: usize,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderTrained {
    /// What turns the base's vectors into those that are compared.
    Heads,
    /// Adapters of low rank in the base, too.
    Lora,
    /// Every weight.
    #[default]
    Full,
}

/// `[loss]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderLossSpec {
    /// `bce`: binary cross-entropy on the logit; `mse`: squared error on its sigmoid. Default
    /// `bce`.
    pub kind: EncoderLoss,
    /// Weight of a softmax over the other requests' items of a batch, 0 to 100. Default 0.
    pub in_batch: f32,
}

/// What is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderLoss {
    /// Binary cross-entropy on the logit.
    #[default]
    Bce,
    /// Squared error on the logit's sigmoid.
    Mse,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderTrainSpec {
    /// Everything random follows from it. Default 42.
    pub seed: u64,
    /// Requests of a step, 1 to 65536. Default 64.
    pub batch: usize,
    /// The heads' learning rate; `optimizer.learning_rate` is the base's. Default 0.001.
    pub heads_rate: f32,
    /// Passes over all requests, at most. Default 5.
    pub epochs_max: u64,
    /// Validations without a better AUC after which training stops. Default 2.
    pub patience: u64,
    /// Steps between checkpoints; 0 is one for each pass. Default 0.
    pub checkpoint_steps: u64,
    /// Requests that are kept for validation, 0.01 to 0.5. Default 0.1.
    pub validation: f32,
}

impl EncoderBaseSpec {
    /// The folder's name, which what is learned refers to.
    pub fn name(&self) -> Option<String> {
        let name = Path::new(self.path.as_ref()?).file_name()?;
        Some(name.to_string_lossy().into_owned())
    }
}

fn name<S: Serializer>(path: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    EncoderBaseSpec { path: path.clone(), ..EncoderBaseSpec::default() }.name().serialize(to)
}

impl Default for EncoderBaseSpec {
    fn default() -> Self {
        Self {
            path: None,
            precision: None,
            layers: 2,
            hidden: 64,
            heads: 4,
            inner: 128,
            words_max: 8000,
            width: None,
            tokens_max: 128,
        }
    }
}

impl Default for EncoderLossSpec {
    fn default() -> Self {
        Self { kind: EncoderLoss::Bce, in_batch: 0.0 }
    }
}

impl Default for EncoderTrainSpec {
    fn default() -> Self {
        Self {
            seed: 42,
            batch: 64,
            heads_rate: 1e-3,
            epochs_max: 5,
            patience: 2,
            checkpoint_steps: 0,
            validation: 0.1,
        }
    }
}

impl TrainEncoderSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("labels", &self.labels);
        self.device.check_one("device", "an encoder", problems);
        let base = &self.base;
        problems.range("base.layers", base.layers, 1, 64);
        problems.range("base.hidden", base.hidden, 8, 4096);
        problems.range("base.inner", base.inner, 8, 16_384);
        problems.range("base.words_max", base.words_max, 100, 1_000_000);
        problems.range("base.width", base.width.unwrap_or(8), 8, 4096);
        problems.range("base.tokens_max", base.tokens_max, 8, 8192);
        if base.precision == Some(PrecisionSpec::Fp8) {
            problems.add("base.precision", "expected \"f32\" or \"bf16\", found \"fp8\"");
        }
        if base.heads == 0 || !base.hidden.is_multiple_of(base.heads) {
            let found = format!("{} does not divide base.hidden = {}", base.heads, base.hidden);
            problems.add("base.heads", found);
        }
        self.lora.check(problems);
        problems.range("loss.in_batch", self.loss.in_batch, 0.0, 100.0);
        self.optimizer.check(problems);
        let train = &self.train;
        problems.range("train.batch", train.batch, 1, 65_536);
        problems.range("train.heads_rate", train.heads_rate, 0.0, 1.0);
        problems.range("train.epochs_max", train.epochs_max, 1, 100_000);
        problems.range("train.patience", train.patience, 1, 10_000);
        problems.range("train.validation", train.validation, 0.01, 0.5);
    }
}
