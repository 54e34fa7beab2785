//! `kind = "train-reranker"`: sequences and a retriever to a decoder that re-ranks by what people
//! asked for.

use super::{DeviceSpec, OptimizerSpec, Problems};
use serde::{Deserialize, Serialize, Serializer};
use std::path::Path;

/// The job as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainRerankerSpec {
    /// `run:JOB`, a prepare job.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub sequences: String,
    /// `run:JOB`, a train-retriever job: whose candidates are shown.
    #[serde(skip_serializing)]
    pub retriever: String,
    /// On what it learns: `cpu`, or `cuda:N` for an NVIDIA device, whose last bits differ from the
    /// processor's. Default `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")] // a job without it keeps its run
    pub device: DeviceSpec,
    /// The decoder to begin with.
    pub base: BaseSpec,
    /// What it reads for one user.
    pub prompt: PromptSpec,
    /// What it learns from.
    pub examples: ExamplesSpec,
    /// Adapters of low rank; without them every weight is trained.
    pub lora: Option<LoraSpec>,
    /// How it learns.
    pub optimizer: OptimizerSpec,
    /// How long and in which pieces.
    pub train: RerankerTrainSpec,
}

/// `[base]`: a folder with a decoder, or the shape of a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaseSpec {
    /// A Hugging Face folder: `config.json`, `tokenizer.json`, safetensors. Left out, a decoder of
    /// the shape below begins with random weights, and its words are those of the catalogue.
    /// What is learned names the folder, without where it lies.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "name")]
    pub path: Option<String>, // what it holds is hashed apart
    /// Layers of a new decoder, 1 to 64. Default 2.
    pub layers: usize,
    /// Width, 8 to 4096. Default 64.
    pub hidden: usize,
    /// Heads of the queries; divides `hidden`. Default 4.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`. Default 2.
    pub shared_heads: usize,
    /// Width between the two forward products, 8 to 16384. Default 192.
    pub inner: usize,
    /// Words of the vocabulary beside those of values and the template: the most frequent of
    /// titles, 100 to 1000000. Default 8000.
    pub words_max: usize,
}

/// `[prompt]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptSpec {
    /// A Jinja template over `history`, `controls` and `candidates`; our own when left out. What it
    /// prints is data; special tokens in what it says are read as such. `{{ a.value|one_word }}`
    /// joins the words of a value by `_`: one token for a decoder that begins with its own words.
    pub template: Option<String>,
    /// Attributes of which control tokens are made, `<price>` of `price`; shown with every item.
    pub attributes: Vec<String>,
    /// Items of the history that are shown, 0 to 1000. Default 10.
    pub history_max: usize,
    /// Candidates of a prompt, 2 to 200. Default 20.
    pub candidates: usize,
    /// Characters of a title or a value, 1 to 10000. Default 60.
    pub text_chars_max: usize,
    /// Characters of a description, where the template shows `item.description`, 0 to 100000.
    /// Default 200.
    #[serde(skip_serializing_if = "short")] // a job without it keeps its run
    pub description_chars_max: usize,
    /// Tokens of a prompt, 16 to 131072, and never more than the model can read: history that does
    /// not fit is left out, and after it the ends of descriptions. Default 2048.
    pub tokens_max: usize,
}

impl BaseSpec {
    /// The folder's name, which the adapter's file holds.
    pub fn name(&self) -> Option<String> {
        let name = Path::new(self.path.as_ref()?).file_name()?;
        Some(name.to_string_lossy().into_owned())
    }
}

fn name<S: Serializer>(path: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    BaseSpec { path: path.clone(), ..BaseSpec::default() }.name().serialize(to)
}

const DESCRIPTION_CHARS_MAX: usize = 200;

fn short(chars: &usize) -> bool {
    *chars == DESCRIPTION_CHARS_MAX
}

/// `[examples]`: a person at a moment, what came next, and something to ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExamplesSpec {
    /// Moments of each person, the latest before the test part, 1 to 100. Default 1.
    pub windows: usize,
    /// People, drawn by the seed; 0 is everybody. Default 0.
    pub users_max: usize,
    /// Where the controls of examples come from, in turns: `sampled` from a candidate, `oracle`
    /// from what came next. Default both.
    pub controls: Vec<ExampleControls>,
    /// How they ask, drawn for each: `is` a value, `either` of two, `not` a value, `at-most` or
    /// `at-least` a number. Default `is`. What people will ask for belongs here: a decoder reads
    /// what it has seen.
    #[serde(skip_serializing_if = "plain")] // a job without it keeps its run
    pub wordings: Vec<ExampleWording>,
    /// How often something is asked at each moment, 1 to 64: the same candidates in the same order
    /// with other controls, which costs little more than asking once. Default 4.
    pub questions: usize,
    /// Controls of an example are 1 to this many, drawn. Default 3.
    pub controls_max: usize,
    /// Whether controls count in what is learned; without them it is what came next alone. Default
    /// true.
    pub control_scores: bool,
    /// When the model's share of the score is fitted, the share of the retriever's NDCG for what
    /// came next that following the controls may cost, 0 to 1. Default 0.05.
    pub cost_max: f32,
    /// Whether items of the history are left out of the candidates. Default true.
    pub exclude_seen: bool,
    /// People whose examples are kept for validation, 0.01 to 0.5. Default 0.1.
    pub validation: f32,
    /// Seed of what is drawn. Default 1.
    pub seed: u64,
}

/// Where an example's controls come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExampleControls {
    /// The values of a candidate.
    Sampled,
    /// The values of what came next.
    Oracle,
}

/// How an example's control asks for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExampleWording {
    /// The value.
    Is,
    /// The value or another candidate's.
    Either,
    /// Any other value; `is` for what came next.
    Not,
    /// The value's number or less; `is` where it has none.
    AtMost,
    /// The value's number or more; `is` where it has none.
    AtLeast,
}

fn plain(wordings: &[ExampleWording]) -> bool {
    wordings == [ExampleWording::Is]
}

/// `[lora]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraSpec {
    /// R, 1 to 256. Default 8.
    pub rank: usize,
    /// Scale α: B · A is multiplied by α / R. Default 16.
    pub alpha: f64,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RerankerTrainSpec {
    /// Everything random follows from it. Default 42.
    pub seed: u64,
    /// Moments of a step, 1 to 65536. Default 32.
    pub batch: usize,
    /// Passes over all examples, at most. Default 3.
    pub epochs_max: u64,
    /// Validations without a better NDCG after which training stops. Default 3.
    pub patience: u64,
    /// Steps between checkpoints; 0 is one for each pass. Default 0.
    pub checkpoint_steps: u64,
    /// What a thread, or a device, may keep of a forward pass for its backward pass, in MiB, 0 to
    /// 1048576; layers beyond it are computed again, with the same result. Default 1024.
    #[serde(skip_serializing)] // the same run
    pub kept_mib_max: usize,
    /// Keeps control tokens apart: this times the mean over pairs of control tokens of
    /// max(0, cos(e_i, e_j))², e their embeddings, is added to the loss of a step, 0 to 1000.
    /// Default 0.
    #[serde(skip_serializing_if = "off")] // a job without it keeps its run
    pub contrast: f32,
}

fn off(contrast: &f32) -> bool {
    *contrast == 0.0
}

impl Default for BaseSpec {
    fn default() -> Self {
        Self {
            path: None,
            layers: 2,
            hidden: 64,
            heads: 4,
            shared_heads: 2,
            inner: 192,
            words_max: 8000,
        }
    }
}

impl Default for PromptSpec {
    fn default() -> Self {
        Self {
            template: None,
            attributes: Vec::new(),
            history_max: 10,
            candidates: 20,
            text_chars_max: 60,
            description_chars_max: DESCRIPTION_CHARS_MAX,
            tokens_max: 2048,
        }
    }
}

impl Default for ExamplesSpec {
    fn default() -> Self {
        Self {
            windows: 1,
            users_max: 0,
            controls: vec![ExampleControls::Sampled, ExampleControls::Oracle],
            wordings: vec![ExampleWording::Is],
            questions: 4,
            controls_max: 3,
            control_scores: true,
            cost_max: 0.05,
            exclude_seen: true,
            validation: 0.1,
            seed: 1,
        }
    }
}

impl Default for LoraSpec {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0 }
    }
}

impl Default for RerankerTrainSpec {
    fn default() -> Self {
        Self {
            seed: 42,
            batch: 32,
            epochs_max: 3,
            patience: 3,
            checkpoint_steps: 0,
            kept_mib_max: 1024,
            contrast: 0.0,
        }
    }
}

impl LoraSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.range("lora.rank", self.rank, 1, 256);
        problems.range("lora.alpha", self.alpha, 1e-3, 1e6);
    }
}

impl TrainRerankerSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("sequences", &self.sequences);
        problems.reference("retriever", &self.retriever);
        self.check_base(problems);
        let prompt = &self.prompt;
        if prompt.attributes.is_empty() {
            problems.add("prompt.attributes", "is missing: what people may ask for");
        }
        problems.unique("prompt.attributes", prompt.attributes.iter().map(String::as_str));
        problems.range("prompt.history_max", prompt.history_max, 0, 1000);
        problems.range("prompt.candidates", prompt.candidates, 2, 200);
        problems.range("prompt.text_chars_max", prompt.text_chars_max, 1, 10_000);
        let description = prompt.description_chars_max;
        if self.device.count() > 1 {
            problems.add("device", "expected one device to learn on, found several");
        }
        problems.range("prompt.description_chars_max", description, 0, 100_000);
        problems.range("prompt.tokens_max", prompt.tokens_max, 16, 131_072);
        let examples = &self.examples;
        problems.range("examples.windows", examples.windows, 1, 100);
        problems.range("examples.controls (how many)", examples.controls.len(), 1, 100);
        problems.range("examples.wordings (how many)", examples.wordings.len(), 1, 100);
        problems.range("examples.questions", examples.questions, 1, 64);
        problems.range("examples.controls_max", examples.controls_max, 1, 32);
        problems.range("examples.cost_max", examples.cost_max, 0.0, 1.0);
        problems.range("examples.validation", examples.validation, 0.01, 0.5);
        if let Some(lora) = &self.lora {
            lora.check(problems);
        }
        self.optimizer.check(problems);
        problems.range("train.batch", self.train.batch, 1, 65_536);
        problems.range("train.epochs_max", self.train.epochs_max, 1, 100_000);
        problems.range("train.kept_mib_max", self.train.kept_mib_max, 0, 1 << 20);
        problems.range("train.contrast", self.train.contrast, 0.0, 1000.0);
        problems.range("train.patience", self.train.patience, 1, 10_000);
    }

    fn check_base(&self, problems: &mut Problems) {
        let base = &self.base;
        problems.range("base.layers", base.layers, 1, 64);
        problems.range("base.hidden", base.hidden, 8, 4096);
        problems.range("base.inner", base.inner, 8, 16_384);
        problems.range("base.words_max", base.words_max, 100, 1_000_000);
        let width = base.hidden.checked_div(base.heads).unwrap_or(0);
        if width * base.heads != base.hidden || !width.is_multiple_of(2) || width == 0 {
            let found = format!("{} heads do not cut {} into even parts", base.heads, base.hidden);
            problems.add("base.heads", found);
        }
        if base.shared_heads == 0 || !base.heads.is_multiple_of(base.shared_heads) {
            let found =
                format!("{} does not divide base.heads = {}", base.shared_heads, base.heads);
            problems.add("base.shared_heads", found);
        }
    }
}
