//! What the sums come to: the figures that people read. Plain data, made by the metric module and
//! shown by the report.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mean over users with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean (for a difference: this arm less the baseline, over the same users).
    pub mean: f64,
    /// The interval's lower end; equal to `mean` when no interval was computed.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// How many users the mean is over.
    pub users: u64,
}

/// The same metrics over a part of the users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceSummary {
    /// What the users were divided by: `history-length`, `target-popularity`, `controls`, or a
    /// segment.
    pub dimension: String,
    /// Which part: `1-9`, `10-49`, …
    pub label: String,
    /// How many users.
    pub users: u64,
    /// Metric name → value. Intervals here are by the normal approximation.
    pub metrics: BTreeMap<String, Estimate>,
}

/// One arm's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmSummary {
    /// The arm's name in the job.
    pub arm: String,
    /// Metric name → value, with bootstrap intervals: `hit@10`, `ndcg@10`, `mrr@10`, `recall@10`,
    /// `cp@3`, `oracle-cp@3`, `cd`, `ncp@3`, `coverage@10`, `gini@10`, …
    pub metrics: BTreeMap<String, Estimate>,
    /// Metric name → paired difference to the baseline arm; empty for the baseline itself.
    pub versus_baseline: BTreeMap<String, Estimate>,
    /// The slices, by dimension and label.
    pub slices: Vec<SliceSummary>,
}

/// All figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The arm that the differences are to.
    pub baseline: String,
    /// Bootstrap replicates behind the intervals; 0 when none were drawn.
    pub replicates: u32,
    /// The arms, in the job's order.
    pub arms: Vec<ArmSummary>,
}
