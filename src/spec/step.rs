//! The steps of a `rerank` job's arms.

use super::{NodeGraphSpec, PrecisionSpec, Problems};
use serde::{Deserialize, Serialize};

/// θ of a `dpp` step above this would overflow nothing, but leaves a list that diversity cannot
/// change.
pub const THETA_MAX: f32 = 50.0;

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
        /// How strongly relevance counts, 0 to 50.
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
        /// In what the decoder's projections are kept: `f32`, `bf16` (as `f32` is on a device, too)
        /// or `fp8`, for which devices have products that are twice as fast, at the cost of
        /// lists that differ somewhat. As its files have them when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        precision: Option<PrecisionSpec>,
        /// Seed of the orders. Default 0.
        #[serde(default)]
        seed: u64,
    },
    /// Shares of the list as a whole: those written here, and those of each user's request.
    Quota {
        /// Everybody's.
        #[serde(default)]
        quotas: Vec<QuotaSpec>,
        /// Places that are filled so; the rest follows in order.
        #[serde(default = "depth")]
        depth: usize,
    },
    /// The order of items by how well they answer the user's request, fused with the list before.
    LanguageControl {
        /// `run:JOB`, an embed job.
        embeddings: String,
        /// The request's share, 0 to 1, where the request has none of its own: 0 leaves the list as
        /// it is, 1 is the request's order. Default 0.5.
        #[serde(default = "half")]
        weight: f32,
        /// How the two orders become one. Default `ranks`.
        #[serde(default)]
        fusion: FusionSpec,
        /// Of which items: the list's, or the whole catalogue's, as the first step of an arm.
        /// Default `candidates`.
        #[serde(default)]
        over: Over,
    },
    /// The list again and again, at each node with another aspect in mind, towards a Goal.
    NodeGraph(NodeGraphSpec),
}

/// A share of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaSpec {
    /// The attribute's name.
    pub attribute: String,
    /// A label, or several separated by `|`, whose items have the shares below.
    pub value: Option<String>,
    /// The least share of places, 0 to 1, with such items.
    pub at_least: Option<f32>,
    /// The greatest.
    pub at_most: Option<f32>,
    /// Without a value: how often each label of the attribute may be there.
    pub each_at_most: Option<u32>,
}

impl QuotaSpec {
    fn check(&self, path: &str, problems: &mut Problems) {
        let shares = [self.at_least, self.at_most];
        shares.into_iter().flatten().for_each(|share| problems.range(path, share, 0.0, 1.0));
        let of_value = self.value.is_some() && shares.iter().any(Option::is_some);
        let of_each = self.value.is_none() && self.each_at_most.is_some();
        if of_value == of_each || self.each_at_most.is_some() && shares.iter().any(Option::is_some)
        {
            problems.add(path, "expected value with at_least or at_most, or each_at_most alone");
        }
    }
}

/// How two orders become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FusionSpec {
    /// Interpolates normalised ranks.
    #[default]
    Ranks,
    /// Interpolates scores as they are.
    Scores,
    /// Adds 1 / (60 + rank), weighted.
    Reciprocal,
}

/// Which items are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Those of the list.
    #[default]
    Candidates,
    /// Every item that the user may be shown.
    Catalogue,
}

fn half() -> f32 {
    0.5
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
                problems.range(&format!("{path}.theta"), *theta, 0.0, THETA_MAX);
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
            StepSpec::Quota { quotas, depth } => {
                problems.range(&format!("{path}.depth"), *depth, 1, 10_000);
                for (q, quota) in quotas.iter().enumerate() {
                    quota.check(&format!("{path}.quotas[{q}]"), problems);
                }
            }
            StepSpec::NodeGraph(graph) => graph.check(path, problems),
            StepSpec::LanguageControl { embeddings, weight, .. } => {
                problems.reference(&format!("{path}.embeddings"), embeddings);
                problems.range(&format!("{path}.weight"), *weight, 0.0, 1.0);
            }
        }
    }
}
