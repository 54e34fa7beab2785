//! `[requests]` of a rerank job: what people asked for in their own words.

use super::step::{Over, StepSpec};
use super::{Problems, RerankSpec};
use crate::types::Category;
use serde::{Deserialize, Serialize};

/// `[requests]` of a rerank job: what people asked for in their own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskSpec {
    /// Default `none`.
    pub from: AskFrom,
    /// `from = "table"`: a Parquet file with columns user and request, and optionally weight, the
    /// control order's share of the score. `generated:requests.parquet` is the one that a prepare
    /// job with `[generate]` made.
    #[serde(skip_serializing)]
    pub path: Option<String>,
    /// `from = "job"`: everybody's.
    pub text: Option<String>,
    /// `from = "sampled"`: of which categories; all that the data supports when left out.
    pub categories: Option<Vec<Category>>,
    /// `from = "sampled"`: in words that no encoder has learned from. Default true.
    pub held_out: bool,
    /// `from = "sampled"`: the seed. Default 0.
    pub seed: u64,
    /// Whether what is understood of a request joins the user's controls, so that token control
    /// and hard filters know of it. Default true.
    pub controls: bool,
}

/// Where requests come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskFrom {
    /// Nobody says anything.
    #[default]
    None,
    /// The job file.
    Job,
    /// A per-user table.
    Table,
    /// Made up, one for each user, its meaning known.
    Sampled,
}

/// `[inferred]`: values of attributes that nobody wrote down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferredSpec {
    /// `run:JOB`, a label job with `[infer]`: what its teacher thinks of items without a value.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub labels: String,
    /// Values that it is less sure of are left out, 0 to 1. Default 0.5.
    pub confidence_min: f32,
}

impl Default for InferredSpec {
    fn default() -> Self {
        Self { labels: String::new(), confidence_min: 0.5 }
    }
}

impl InferredSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("inferred.labels", &self.labels);
        problems.range("inferred.confidence_min", self.confidence_min, 0.0, 1.0);
    }
}

impl Default for AskSpec {
    fn default() -> Self {
        Self {
            from: AskFrom::None,
            path: None,
            text: None,
            categories: None,
            held_out: true,
            seed: 0,
            controls: true,
        }
    }
}

impl AskSpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        match self.from {
            AskFrom::Table if self.path.is_none() => {
                problems.add("requests.path", "is missing: the table of requests");
            }
            AskFrom::Job if self.text.as_ref().is_none_or(|text| text.trim().is_empty()) => {
                problems.add("requests.text", "is missing: what everybody asks for");
            }
            _ => {}
        }
        if self.categories.as_ref().is_some_and(Vec::is_empty) {
            problems.add("requests.categories", "expected at least one, found none");
        }
    }
}

impl RerankSpec {
    /// Every rule over requests and the steps that follow them.
    pub(super) fn check_requests(&self, problems: &mut Problems) {
        let from = self.requests.as_ref().map_or(AskFrom::None, |requests| requests.from);
        if let Some(requests) = &self.requests {
            requests.check(problems);
        }
        for (a, arm) in self.arms.iter().enumerate() {
            for (s, step) in arm.steps.iter().enumerate() {
                let StepSpec::LanguageControl { over, .. } = step else { continue };
                let path = format!("arm[{a}].steps[{s}]");
                if from == AskFrom::None {
                    problems.add(&path, "has nothing to follow: add [requests]");
                }
                if *over == Over::Catalogue && s > 0 {
                    problems.add(&path, "over = \"catalogue\" begins an arm: move it first");
                }
                if *over == Over::Catalogue && self.candidates.is_some() {
                    problems.add(&path, "over = \"catalogue\" needs a retriever's scores");
                }
            }
        }
    }
}
