//! `[[guide]]` of a rerank job: models that rank at nodes and say where to go next.

use super::node_graph::RULES;
use super::{
    DeviceSpec, HttpTeacherSpec, PrecisionSpec, Problems, RerankSpec, StepSpec, TextsSpec,
};
use serde::{Deserialize, Serialize};

/// `[[guide]]`: a model that arms with `method = "node-graph"` name as ranker or navigator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuideSpec {
    /// What arms call it.
    pub name: String,
    /// The decoder in a folder; not with a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderGuideSpec>,
    /// The model behind a server; not with a decoder. `items_per_prompt` is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<HttpTeacherSpec>,
    /// Candidates of one prompt, 2 to 100: more are ranked in windows, from the end of the list to
    /// its front. Default 20.
    pub window: usize,
    /// Candidates by which windows move on, 1 to `window`. Default 10.
    pub stride: usize,
    /// People and items in words.
    pub texts: TextsSpec,
}

/// `[guide.decoder]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderGuideSpec {
    /// A Hugging Face folder of the Llama family: `config.json`, `tokenizer.json`, safetensors.
    #[serde(skip_serializing)] // what is in it stands for it
    pub path: String,
    /// A LoRA adapter of it, in PEFT's layout: such as was tuned to rank lists of this kind. Left
    /// out for none.
    #[serde(skip_serializing)]
    pub adapter: Option<String>,
    /// In what its projections are kept: `f32`, `bf16` (as `f32` is on a device, too) or `fp8`. As
    /// its files have them when left out.
    #[serde(skip_serializing_if = "Option::is_none")] // a guide without keeps its run
    pub precision: Option<PrecisionSpec>,
    /// Whether prompts go through the folder's chat template: for instruction models. Default
    /// false.
    pub chat: bool,
    /// How the order is read: from the logits of the candidates' labels, or written label by label.
    /// Default `logits`.
    pub ranking: DecoderRanking,
    /// 0 for the most likely label and node; above, they are drawn, by seed and user. Default 0.
    pub temperature: f32,
    /// The seed of what is drawn. Default 0.
    pub seed: u64,
    /// Tokens of a prompt, at most, 16 to 131072. Default 4096.
    pub tokens_max: usize,
    /// MiB in which what was read of users is kept between visits, for each process, in the memory
    /// of what it computes on; what does not fit is read again. 0 for nothing. Default 1024.
    #[serde(skip_serializing)] // the same lists
    pub kept_mib: usize,
    /// On what it computes: `cpu`, or `cuda:N`, one device, with batches of the job's
    /// `device_tokens_max` tokens. Default `cpu`.
    #[serde(skip_serializing_if = "DeviceSpec::is_cpu")]
    pub device: DeviceSpec,
}

/// How a decoder's order is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecoderRanking {
    /// From the logits of the labels after the prompt: one pass.
    #[default]
    Logits,
    /// Label by label, each of those that are left.
    Written,
}

impl Default for GuideSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            decoder: None,
            server: None,
            window: 20,
            stride: 10,
            texts: TextsSpec { history_max: 5, ..TextsSpec::default() },
        }
    }
}

impl Default for DecoderGuideSpec {
    fn default() -> Self {
        Self {
            path: String::new(),
            adapter: None,
            precision: None,
            chat: false,
            ranking: DecoderRanking::Logits,
            temperature: 0.0,
            seed: 0,
            tokens_max: 4096,
            kept_mib: 1024,
            device: DeviceSpec::Cpu,
        }
    }
}

impl GuideSpec {
    fn check(&self, path: &str, problems: &mut Problems) {
        problems.required(&format!("{path}.name"), &self.name, "what arms call it");
        if self.name == RULES {
            problems.add(format!("{path}.name"), "\"rules\" is the guide without a model");
        }
        problems.range(&format!("{path}.window"), self.window, 2, 100);
        problems.range(&format!("{path}.stride"), self.stride, 1, self.window);
        match (&self.decoder, &self.server) {
            (Some(decoder), None) => decoder.check(&format!("{path}.decoder"), problems),
            (None, Some(server)) => server.check(&format!("{path}.server"), problems),
            _ => problems.add(path, "expected [guide.decoder] or [guide.server], one of them"),
        }
        self.texts.check(problems);
    }
}

impl DecoderGuideSpec {
    fn check(&self, path: &str, problems: &mut Problems) {
        problems.required(&format!("{path}.path"), &self.path, "the folder of a decoder");
        problems.range(&format!("{path}.temperature"), self.temperature, 0.0, 100.0);
        problems.range(&format!("{path}.tokens_max"), self.tokens_max, 16, 131_072);
        problems.range(&format!("{path}.kept_mib"), self.kept_mib, 0, 1 << 20);
        self.device.check_one(&format!("{path}.device"), "a guide", problems);
    }
}

impl RerankSpec {
    /// Every rule over guides and who names them.
    pub(super) fn check_guides(&self, problems: &mut Problems) {
        problems.unique("guide", self.guides.iter().map(|guide| guide.name.as_str()));
        for (g, guide) in self.guides.iter().enumerate() {
            guide.check(&format!("guide[{g}]"), problems);
        }
        for (a, arm) in self.arms.iter().enumerate() {
            for (s, step) in arm.steps.iter().enumerate() {
                let StepSpec::NodeGraph(graph) = step else { continue };
                for (field, name) in [("ranker", &graph.ranker), ("navigator", &graph.navigator)] {
                    if name != RULES && !self.guides.iter().any(|guide| guide.name == *name) {
                        let path = format!("arm[{a}].steps[{s}].{field}");
                        problems.add(&path, format!("no [[guide]] is called {name:?}"));
                    }
                }
            }
        }
        self.budget.check(problems);
    }
}
