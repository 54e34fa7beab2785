//! `[teacher]` and `[budget]` of a label job: who judges, and what that may cost.

use super::{DeviceSpec, Problems};
use serde::{Deserialize, Serialize};

/// `[teacher]`, by `kind`: who says how well an item answers a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TeacherSpec {
    /// The catalogue: 1 where all that the request means is met, 0 otherwise.
    Attributes {
        /// The share of what is met, instead. Default false.
        #[serde(default)]
        graded: bool,
        /// The share of judgements that are turned around, as a teacher errs, 0 to 0.5. Default 0.
        #[serde(default)]
        noise: f64,
    },
    /// A decoder in a folder, which reads one prompt an item and answers with a mark.
    Decoder(DecoderTeacherSpec),
    /// A model behind a server that speaks the OpenAI chat protocol, with `temperature = 0`: each
    /// prompt is answered once, whatever runs ask for it.
    Http(HttpTeacherSpec),
}

/// `[teacher]` with `kind = "decoder"`: the score is the mark from 0 to 4 that is expected under
/// the model's logits after the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderTeacherSpec {
    /// A Hugging Face folder of the Llama family: `config.json`, `tokenizer.json`, safetensors.
    #[serde(skip_serializing)] // what is in it stands for it
    pub path: String,
    /// The prompt, with `{person}`, `{request}` and `{item}` in it and special tokens by their
    /// names; it ends where the mark follows. One of ours when left out.
    pub template: Option<String>,
    /// Tokens of a prompt, at most, 16 to 131072. Default 1024.
    pub tokens_max: usize,
    /// On what it computes: `cpu`, `cuda:N` or `cuda:N,M`. Default `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")]
    pub device: DeviceSpec,
    /// Tokens of a batch on a device, 64 to 1048576. Default 16384.
    #[serde(skip_serializing)] // the same judgements
    pub device_tokens_max: usize,
}

/// `[teacher]` with `kind = "http"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpTeacherSpec {
    /// What comes before `/chat/completions`: `http://localhost:8000/v1`.
    #[serde(skip_serializing)] // where a model is asked is not what it says
    pub base_url: String,
    /// The model's name, as the server knows it.
    pub model: String,
    /// The environment variable that holds the server's key; none where it asks for none.
    #[serde(skip_serializing)]
    pub key_variable: Option<String>,
    /// Items of a prompt, 1 to 100. Default 10.
    pub items_per_prompt: usize,
    /// What the server is told of an answer's form beside the prompt: `text` for nothing, `json`
    /// that it is a JSON object, `schema` its JSON schema, to which many servers hold what is
    /// written; not all know how to. Default `text`.
    pub format: ServerFormat,
    /// Tokens of an answer, at most, 16 to 100000. Default 1024.
    pub answer_tokens_max: u32,
    /// Prompts at once, of each process, 1 to 1024. Default 8.
    #[serde(skip_serializing)]
    pub at_once: usize,
    /// Prompts a second, of each process; 0 for no limit. Default 0.
    #[serde(skip_serializing)]
    pub requests_per_second: f64,
    /// Tokens a minute, of each process; 0 for no limit. Default 0.
    #[serde(skip_serializing)]
    pub tokens_per_minute: u64,
    /// Seconds that one try may take, 1 to 3600. Default 120.
    #[serde(skip_serializing)]
    pub timeout_seconds: u64,
    /// Tries of a prompt, 1 to 100. Default 6.
    #[serde(skip_serializing)]
    pub tries_max: u32,
    /// Seconds after which a prompt is not tried again, 1 to 86400. Default 600.
    #[serde(skip_serializing)]
    pub tries_seconds_max: u64,
    /// Milliseconds before the second try, twice as many before each further one, 1 to 60000.
    /// Default 500.
    #[serde(skip_serializing)]
    pub wait_ms: u64,
}

/// What a server is told of the form of its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerFormat {
    /// Nothing.
    #[default]
    Text,
    /// That it is a JSON object.
    Json,
    /// Which JSON object.
    Schema,
}

/// `[budget]`: what one run may spend on a server, however often it is begun again; 0 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetSpec {
    /// Answers. Default 0.
    pub requests_max: u64,
    /// Tokens, read and written. Default 0.
    pub tokens_max: u64,
    /// In the unit of the prices. Default 0.
    pub cost_max: f64,
    /// The price of a million tokens that are read. Default 0.
    pub input_price: f64,
    /// The price of a million tokens that are written. Default 0.
    pub output_price: f64,
}

impl Default for TeacherSpec {
    fn default() -> Self {
        TeacherSpec::Attributes { graded: false, noise: 0.0 }
    }
}

impl Default for DecoderTeacherSpec {
    fn default() -> Self {
        DecoderTeacherSpec {
            path: String::new(),
            template: None,
            tokens_max: 1024,
            device: DeviceSpec::Cpu,
            device_tokens_max: 16_384,
        }
    }
}

impl Default for HttpTeacherSpec {
    fn default() -> Self {
        HttpTeacherSpec {
            base_url: String::new(),
            model: String::new(),
            key_variable: None,
            items_per_prompt: 10,
            format: ServerFormat::Text,
            answer_tokens_max: 1024,
            at_once: 8,
            requests_per_second: 0.0,
            tokens_per_minute: 0,
            timeout_seconds: 120,
            tries_max: 6,
            tries_seconds_max: 600,
            wait_ms: 500,
        }
    }
}

impl TeacherSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        match self {
            TeacherSpec::Attributes { noise, .. } => {
                problems.range("teacher.noise", *noise, 0.0, 0.5);
            }
            TeacherSpec::Decoder(spec) => {
                problems.required("teacher.path", &spec.path, "the folder of a decoder");
                problems.range("teacher.tokens_max", spec.tokens_max, 16, 131_072);
                let most = spec.device_tokens_max;
                problems.range("teacher.device_tokens_max", most, 64, 1_048_576);
            }
            TeacherSpec::Http(spec) => spec.check("teacher", problems),
        }
    }
}

impl HttpTeacherSpec {
    /// Every rule over the fields of the table `path`.
    pub fn check(&self, path: &str, problems: &mut Problems) {
        let at = |field: &str| format!("{path}.{field}");
        let url = &self.base_url;
        let scheme = url.starts_with("http://") || url.starts_with("https://");
        if !scheme || url.contains(['@', '?', '#', ' ']) {
            let what = "expected http://… or https://… without a key in it";
            problems.add(at("base_url"), format!("{what}, found {url:?}"));
        }
        problems.required(&at("model"), &self.model, "the model's name");
        if let Some(name) = &self.key_variable {
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(letters) {
                let what = "expected the name of an environment variable, and not the key itself";
                problems.add(at("key_variable"), what);
            }
        }
        problems.range(&at("items_per_prompt"), self.items_per_prompt, 1, 100);
        problems.range(&at("answer_tokens_max"), self.answer_tokens_max, 16, 100_000);
        problems.range(&at("at_once"), self.at_once, 1, 1024);
        problems.range(&at("requests_per_second"), self.requests_per_second, 0.0, 1e6);
        problems.range(&at("timeout_seconds"), self.timeout_seconds, 1, 3600);
        problems.range(&at("tries_max"), self.tries_max, 1, 100);
        problems.range(&at("tries_seconds_max"), self.tries_seconds_max, 1, 86_400);
        problems.range(&at("wait_ms"), self.wait_ms, 1, 60_000);
    }
}

impl BudgetSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.range("budget.cost_max", self.cost_max, 0.0, 1e12);
        problems.range("budget.input_price", self.input_price, 0.0, 1e9);
        problems.range("budget.output_price", self.output_price, 0.0, 1e9);
        if self.cost_max > 0.0 && self.input_price + self.output_price == 0.0 {
            let what = "needs budget.input_price and budget.output_price";
            problems.add("budget.cost_max", what);
        }
    }
}
