//! The step `node-graph` of a rerank job's arms, and the Goals that it works towards.

use super::rerank::FairnessSpec;
use super::{Problems, RerankSpec, StepSpec};
use serde::{Deserialize, Serialize};

/// The nodes that need no declaration, in the order of reports.
const KNOWN: [&str; 5] = ["accuracy", "diversity", "fairness", "novelty", "backward"];
/// The node that is always there.
const STOP: &str = "stop";
/// Who needs no model.
pub const RULES: &str = "rules";

/// A step with `method = "node-graph"`: the list is re-ranked again and again, each time at a node
/// with another aspect in mind, towards a Goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeGraphSpec {
    /// Everybody's Goal, such as `"mainly accuracy, then diversity"`; each user's own, of
    /// `[goals]`, when left out.
    pub goal: Option<String>,
    /// The nodes beside `stop`: `accuracy`, where every way starts, `diversity`, `fairness`,
    /// `novelty`, `backward`, and those declared in `[[arm.steps.node]]`. When left out all that
    /// the job says enough about.
    pub nodes: Option<Vec<String>>,
    /// Further aspects: `[[arm.steps.node]]`.
    #[serde(rename = "node")]
    pub declared: Vec<NodeSpec>,
    /// The attribute that diversity is about; that of `[metrics]` when left out.
    pub diversity: Option<String>,
    /// The two groups that fairness is about; those of `[metrics]` when left out.
    pub fairness: Option<FairnessSpec>,
    /// Visits of a way, 1 to 64; ways back count. Default 5.
    pub hops_max: usize,
    /// Candidates that are ranked, 1 to 10000; the others follow as they were. Default 20.
    pub candidates: usize,
    /// Places by which rules judge aspects, 1 to 10000. Default 10.
    pub depth: usize,
    /// Who ranks at the nodes: `rules`, or the name of a `[[guide]]`. Default `rules`.
    pub ranker: String,
    /// Who says where to go next: `rules`, or the name of a `[[guide]]`. Default `rules`.
    pub navigator: String,
    /// The nodes to visit, one after the other, instead of a navigator: for comparison.
    pub path: Option<Vec<String>>,
    /// Whether later visits know of the lists of earlier ones. Default true.
    pub pool: bool,
    /// The share of users whom guides that are models guide, 0 to 1; rules guide the others.
    /// Default 1.
    pub model_share: f64,
    /// Whether models guide only where the rules' list is doubtful: a Goal that is not understood,
    /// a way that came to the limit, or nothing changed. Default false.
    pub uncertain_only: bool,
    /// Decides which users, and what is drawn. Default 0.
    pub seed: u64,
}

/// `[[arm.steps.node]]`: an aspect that the job declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSpec {
    /// The node's name.
    pub name: String,
    /// What a list should be like there, in words, as models read it.
    pub prompt: String,
    /// The attribute that it is about.
    pub attribute: String,
    /// What of it.
    pub metric: NodeMetric,
    /// `metric = "balance"`: numbers below it are one group, the others the other.
    pub below: Option<f32>,
    /// Beginnings of words that name it in a Goal; its name when left out.
    pub words: Vec<String>,
}

/// How much of an aspect a list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeMetric {
    /// Many labels of the attribute rather than one many times.
    #[default]
    Spread,
    /// The same places for two groups.
    Balance,
    /// Great numbers first.
    High,
    /// Small numbers first.
    Low,
}

/// `[goals]`: what each user's list should be like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoalsSpec {
    /// A Parquet file with columns user and goal.
    #[serde(skip_serializing)] // what is in it stands for it
    pub path: Option<String>,
    /// The Goal of users who are not in it.
    pub text: Option<String>,
}

impl Default for NodeGraphSpec {
    fn default() -> Self {
        Self {
            goal: None,
            nodes: None,
            declared: Vec::new(),
            diversity: None,
            fairness: None,
            hops_max: 5,
            candidates: 20,
            depth: 10,
            ranker: RULES.into(),
            navigator: RULES.into(),
            path: None,
            pool: true,
            model_share: 1.0,
            uncertain_only: false,
            seed: 0,
        }
    }
}

impl NodeGraphSpec {
    /// The nodes without stop, in the order of reports; `diversity` and `fairness` where the job
    /// says what they are about.
    pub fn node_names(&self, diversity: bool, fairness: bool) -> Vec<String> {
        let declared = self.declared.iter().map(|node| node.name.as_str());
        match &self.nodes {
            Some(nodes) => {
                let there = |name: &&str| nodes.iter().any(|node| node == name);
                let all = KNOWN[..4].iter().copied().chain(declared).chain([KNOWN[4]]);
                all.filter(there).map(str::to_owned).collect()
            }
            None => {
                let said = |name: &&str| match *name {
                    "diversity" => diversity,
                    "fairness" => fairness,
                    _ => true,
                };
                let known = KNOWN[..4].iter().copied().filter(said);
                known.chain(declared).chain([KNOWN[4]]).map(str::to_owned).collect()
            }
        }
    }

    /// Every rule over the fields.
    pub fn check(&self, path: &str, problems: &mut Problems) {
        problems.range(&format!("{path}.hops_max"), self.hops_max, 1, 64);
        problems.range(&format!("{path}.candidates"), self.candidates, 1, 10_000);
        problems.range(&format!("{path}.depth"), self.depth, 1, 10_000);
        problems.range(&format!("{path}.model_share"), self.model_share, 0.0, 1.0);
        problems.range(&format!("{path}.node (how many)"), self.declared.len(), 0, 64);
        let names = self.declared.iter().map(|node| node.name.as_str());
        problems.unique(&format!("{path}.node"), KNOWN.into_iter().chain([STOP]).chain(names));
        for (n, node) in self.declared.iter().enumerate() {
            node.check(&format!("{path}.node[{n}]"), problems);
        }
        let known = |name: &String| {
            KNOWN.contains(&name.as_str()) || self.declared.iter().any(|node| node.name == *name)
        };
        if let Some(nodes) = &self.nodes {
            for name in nodes.iter().filter(|name| !known(name)) {
                problems.add(format!("{path}.nodes"), format!("no node is called {name:?}"));
            }
            if !nodes.iter().any(|name| name == KNOWN[0]) {
                problems.add(format!("{path}.nodes"), "expected \"accuracy\" among them");
            }
            problems.unique(&format!("{path}.nodes"), nodes.iter().map(String::as_str));
        }
        if let Some(nodes) = &self.path {
            for name in nodes.iter().filter(|name| !known(name)) {
                problems.add(format!("{path}.path"), format!("no node is called {name:?}"));
            }
            problems.range(&format!("{path}.path (how many)"), nodes.len(), 1, 64);
            if self.navigator != RULES {
                problems.add(format!("{path}.path"), "excludes `navigator`: one of them leads");
            }
        }
    }
}

impl NodeSpec {
    fn check(&self, path: &str, problems: &mut Problems) {
        problems.required(&format!("{path}.name"), &self.name, "the node's name");
        problems.required(&format!("{path}.prompt"), &self.prompt, "what to do there, in words");
        problems.required(&format!("{path}.attribute"), &self.attribute, "what it is about");
        if (self.metric == NodeMetric::Balance) != self.below.is_some() {
            problems.add(format!("{path}.below"), "belongs to metric = \"balance\"");
        }
    }
}

impl RerankSpec {
    /// Every rule over Goals and the steps that work towards them.
    pub(super) fn check_goals(&self, problems: &mut Problems) {
        for (a, arm) in self.arms.iter().enumerate() {
            let graphs = arm.steps.iter().filter(|s| matches!(s, StepSpec::NodeGraph(_)));
            if graphs.count() > 1 {
                problems.add(format!("arm[{a}].steps"), "expected one node-graph, found several");
            }
            for (s, step) in arm.steps.iter().enumerate() {
                let StepSpec::NodeGraph(graph) = step else { continue };
                if graph.goal.is_none() && self.goals.is_none() {
                    let path = format!("arm[{a}].steps[{s}].goal");
                    problems.add(&path, "is missing: a Goal for everybody, or [goals]");
                }
            }
        }
        if self.goals.as_ref().is_some_and(|g| g.path.is_none() && g.text.is_none()) {
            problems.add("goals", "expected path or text");
        }
    }
}
