//! `kind = "reachability"`: how far people can steer their lists towards somebody else's, without
//! control, with filters, and with language.

use super::Problems;
use serde::{Deserialize, Serialize};

/// The job as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReachabilitySpec {
    /// `run:JOB`, a prepare job: the people.
    #[serde(skip_serializing)] // the upstream run's id stands for it
    pub sequences: String,
    /// `run:JOB`, a train-retriever job: the base recommender.
    #[serde(skip_serializing)]
    pub retriever: String,
    /// `run:JOB`, an embed job: language.
    #[serde(skip_serializing)]
    pub embeddings: String,
    /// Pairs of people, 2 to 1000000. Default 400.
    pub pairs: usize,
    /// Items of a list, 1 to 1000. Default 10.
    pub k: usize,
    /// The request's shares of the score, ascending. Default 0.25, 0.5, 0.75, 1.
    pub weights: Vec<f32>,
    /// The attributes that filters are over.
    pub filters: Vec<String>,
    /// How many filters, and how many requests, somebody tries at most, 1 to 64. Default 6.
    pub tries: usize,
    /// Parts of the pairs by how alike their lists are to begin with, 1 to 20. Default 4.
    pub strata: usize,
    /// Seed of the pairs. Default 1.
    pub seed: u64,
}

impl Default for ReachabilitySpec {
    fn default() -> Self {
        Self {
            sequences: String::new(),
            retriever: String::new(),
            embeddings: String::new(),
            pairs: 400,
            k: 10,
            weights: vec![0.25, 0.5, 0.75, 1.0],
            filters: Vec::new(),
            tries: 6,
            strata: 4,
            seed: 1,
        }
    }
}

impl ReachabilitySpec {
    /// Every rule over the fields.
    pub fn check(&self, problems: &mut Problems) {
        problems.reference("sequences", &self.sequences);
        problems.reference("retriever", &self.retriever);
        problems.reference("embeddings", &self.embeddings);
        problems.range("pairs", self.pairs, 2, 1_000_000);
        problems.range("k", self.k, 1, 1000);
        problems.ascending("weights", Some(&self.weights), 0.0, 1.0);
        problems.range("tries", self.tries, 1, 64);
        problems.range("strata", self.strata, 1, 20);
        if self.filters.is_empty() {
            problems.add("filters", "is missing: the attributes that filters are over");
        }
        problems.unique("filters", self.filters.iter().map(String::as_str));
    }
}
