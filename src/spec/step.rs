//! The steps of a `rerank` job's arms.

use super::Problems;
use serde::{Deserialize, Serialize};

/// One step of an arm, by `method`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StepSpec {
    /// Leaves the list as it is.
    RetrievalOrder,
    /// Items that meet the controls first, or only them.
    HardFilter {
        /// Default `first`.
        #[serde(default)]
        mode: FilterMode,
    },
    /// Maximal marginal relevance.
    Mmr {
        /// Weight of relevance against novelty, 0 to 1.
        lambda: f32,
        /// What makes two items alike.
        #[serde(default)]
        similarity: Similarity,
        /// Places that are filled greedily; the rest follows in order.
        #[serde(default = "depth")]
        depth: usize,
    },
    /// Greedy maximum a posteriori of a determinantal point process.
    Dpp {
        /// How strongly relevance counts, 0 to 100.
        theta: f32,
        /// What makes two items alike.
        #[serde(default)]
        similarity: Similarity,
        /// Places that are filled greedily; the rest follows in order.
        #[serde(default = "depth")]
        depth: usize,
    },
    /// Swaps items of two groups until their mean places are alike.
    FairSwap {
        /// The attribute that makes the groups.
        attribute: String,
        /// Numbers below it are one group, the others the other.
        below: f32,
        /// The greatest difference of the groups' mean rank scores that is left, 0 to 1.
        gap_max: f32,
        /// Places that are looked at.
        #[serde(default = "depth")]
        depth: usize,
    },
    /// A decoder that reads history, controls and candidates, and orders the candidates.
    TokenControl {
        /// `run:JOB`, a train-reranker job.
        reranker: String,
        /// The model's share of the score, 0 to 1; the rest is that of the list before. Fitted on
        /// the training's validation examples when left out.
        weight: Option<f32>,
        /// Prompts of a user, each with the candidates in another order, 1 to 64. Default 1.
        #[serde(default = "once")]
        permutations: usize,
        /// Whether what was learned is used: without it, a base model as it came. Default true.
        #[serde(default = "yes")]
        adapter: bool,
        /// Seed of the orders. Default 0.
        #[serde(default)]
        seed: u64,
    },
}

fn once() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn depth() -> usize {
    20
}

/// What a hard filter does with items that do not meet the controls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterMode {
    /// They come after those that do.
    #[default]
    First,
    /// They are dropped.
    Only,
}

/// What makes two items alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Similarity {
    /// The cosine of the retriever's item embeddings.
    #[default]
    Embedding,
    /// Jaccard similarity of an attribute's labels.
    Attribute(String),
}

impl StepSpec {
    /// Every rule over the fields.
    pub fn check(&self, path: &str, problems: &mut Problems) {
        match self {
            StepSpec::RetrievalOrder | StepSpec::HardFilter { .. } => {}
            StepSpec::Mmr { lambda, depth, .. } => {
                problems.range(&format!("{path}.lambda"), *lambda, 0.0, 1.0);
                problems.range(&format!("{path}.depth"), *depth, 1, 10_000);
            }
            StepSpec::Dpp { theta, depth, .. } => {
                problems.range(&format!("{path}.theta"), *theta, 0.0, 100.0);
                problems.range(&format!("{path}.depth"), *depth, 1, 10_000);
            }
            StepSpec::FairSwap { attribute, below, gap_max, depth } => {
                problems.required(&format!("{path}.attribute"), attribute, "the groups' attribute");
                problems.range(&format!("{path}.below"), *below, f32::MIN, f32::MAX);
                problems.range(&format!("{path}.gap_max"), *gap_max, 0.0, 1.0);
                problems.range(&format!("{path}.depth"), *depth, 1, 10_000);
            }
            StepSpec::TokenControl { reranker, weight, permutations, .. } => {
                problems.reference(&format!("{path}.reranker"), reranker);
                problems.range(&format!("{path}.weight"), weight.unwrap_or(0.0), 0.0, 1.0);
                problems.range(&format!("{path}.permutations"), *permutations, 1, 64);
            }
        }
    }
}
