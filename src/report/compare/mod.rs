//! Two runs side by side: which figures moved, what differs in the job, which lists changed, and
//! whether that is more than a night's drift.

mod lists;
mod render;

pub use lists::{ListChange, Listed, list_changes};
pub use render::{render_markdown, render_text};

use super::model::Report;
use super::names::{Better, Name};
use super::numbers::{fixed, has_interval};
use crate::metric::Estimate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What differs between two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The earlier run.
    pub old: String,
    /// The later run.
    pub new: String,
    /// Metrics of the arms that both runs have, in the new run's order of arms.
    pub metrics: Vec<MetricChange>,
    /// Arms that only the old run has.
    pub arms_gone: Vec<String>,
    /// Arms that only the new run has.
    pub arms_added: Vec<String>,
    /// Keys of the job that differ.
    pub spec: Vec<SpecChange>,
    /// Lists of the arms that both runs have.
    pub lists: Vec<ListChange>,
    /// What is more than drift; empty when nothing is.
    pub alarms: Vec<String>,
}

/// One metric of one arm in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricChange {
    /// The arm.
    pub arm: String,
    /// The metric's name.
    pub metric: String,
    /// In the old run.
    pub old: Estimate,
    /// In the new run.
    pub new: Estimate,
    /// Whether the two intervals have no value in common. The runs' users need not be the same, so
    /// there is no paired difference to test: this is the cautious criterion.
    pub apart: bool,
}

/// A key of the job with another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecChange {
    /// `arms[1].steps[0].weight`
    pub path: String,
    /// The old value as JSON; none when the key is new.
    pub old: Option<String>,
    /// The new value as JSON; none when the key is gone.
    pub new: Option<String>,
}

/// What is more than drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gates {
    /// The least mean Jaccard similarity of a user's two top-k sets.
    pub jaccard_min: f64,
    /// The least mean rank-biased overlap of a user's two lists.
    pub rank_biased_overlap_min: f64,
}

impl Default for Gates {
    /// Jaccard 0.6, as nightly recommenders alarm on it in practice; rank-biased overlap 0.6.
    fn default() -> Self {
        Gates { jaccard_min: 0.6, rank_biased_overlap_min: 0.6 }
    }
}

/// Compares two reports; `lists` is what [`list_changes`] found, and `spec` what [`spec_changes`]
/// did.
pub fn compare(
    old: &Report,
    new: &Report,
    spec: Vec<SpecChange>,
    lists: Vec<ListChange>,
    gates: &Gates,
) -> Comparison {
    let missing = |from: &Report, to: &Report| {
        let names = from.summary.arms.iter().map(|a| a.arm.clone());
        names.filter(|arm| to.summary.arms.iter().all(|b| b.arm != *arm)).collect()
    };
    let arms_gone: Vec<String> = missing(old, new);
    let metrics = metric_changes(old, new);
    let unpublished = arms_gone.iter().filter(|arm| old.published.as_ref() == Some(*arm));
    let mut alarms: Vec<String> =
        unpublished.map(|arm| format!("{arm}, which was published, is gone")).collect();
    alarms.extend(metrics.iter().filter_map(fell));
    alarms.extend(lists.iter().flat_map(|change| drifted(change, gates)));
    Comparison {
        old: old.run.clone(),
        new: new.run.clone(),
        arms_gone,
        arms_added: missing(new, old),
        metrics,
        spec,
        lists,
        alarms,
    }
}

fn metric_changes(old: &Report, new: &Report) -> Vec<MetricChange> {
    let mut changes = Vec::new();
    for arm in &new.summary.arms {
        let Some(before) = old.summary.arms.iter().find(|a| a.arm == arm.arm) else { continue };
        let mut names: Vec<Name> = arm.metrics.keys().map(|m| Name::parse(m)).collect();
        names.sort_by(|a, b| a.order().cmp(&b.order()));
        changes.extend(names.into_iter().filter_map(|name| {
            let (old, new) = (*before.metrics.get(&name.full)?, *arm.metrics.get(&name.full)?);
            let (arm, metric) = (arm.arm.clone(), name.full);
            Some(MetricChange { arm, metric, old, new, apart: apart(&old, &new) })
        }));
    }
    changes
}

fn apart(old: &Estimate, new: &Estimate) -> bool {
    has_interval(old) && has_interval(new) && (old.high < new.low || new.high < old.low)
}

/// An alarm if the metric is worse by more than both intervals.
fn fell(change: &MetricChange) -> Option<String> {
    let name = Name::parse(&change.metric);
    let worse = match name.better {
        Better::Higher => change.new.mean < change.old.mean,
        Better::Lower => change.new.mean > change.old.mean,
        Better::Neither => false,
    };
    (change.apart && worse).then(|| {
        format!(
            "{} of {} got worse: {} → {}, intervals apart",
            name.label,
            change.arm,
            fixed(change.old.mean, 4),
            fixed(change.new.mean, 4)
        )
    })
}

fn drifted(change: &ListChange, gates: &Gates) -> Vec<String> {
    let checks = [
        ("Jaccard similarity", change.jaccard, gates.jaccard_min),
        ("rank-biased overlap", change.rank_biased_overlap, gates.rank_biased_overlap_min),
    ];
    let low = checks.into_iter().filter(|(_, found, least)| change.users > 0 && found < least);
    low.map(|(what, found, least)| {
        let (arm, k) = (&change.arm, change.k);
        format!("top-{k} lists of {arm} drifted: mean {what} {found:.3}, expected ≥ {least}")
    })
    .collect()
}

/// The keys of two jobs that differ, flattened to paths, ascending.
pub fn spec_changes(old: &Value, new: &Value) -> Vec<SpecChange> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten("", old, &mut before);
    flatten("", new, &mut after);
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| SpecChange {
            path: path.clone(),
            old: before.get(path).cloned(),
            new: after.get(path).cloned(),
        })
        .collect()
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(keys) if !keys.is_empty() => {
            for (key, value) in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, value) in items.iter().enumerate() {
                flatten(&format!("{path}[{at}]"), value, into);
            }
        }
        leaf => {
            into.insert(path.to_owned(), leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_differ_by_path() {
        let old = json!({"k": 10, "arms": [{"w": 0.5}, {"w": 1}], "gone": true});
        let new = json!({"k": 10, "arms": [{"w": 0.7}], "added": []});
        let change = |path: &str, old: Option<&str>, new: Option<&str>| SpecChange {
            path: path.into(),
            old: old.map(Into::into),
            new: new.map(Into::into),
        };
        assert_eq!(
            spec_changes(&old, &new),
            [
                change("added", None, Some("[]")),
                change("arms[0].w", Some("0.5"), Some("0.7")),
                change("arms[1].w", Some("1"), None),
                change("gone", Some("true"), None),
            ]
        );
        assert_eq!(spec_changes(&old, &old), []);
    }

    #[test]
    fn only_intervals_without_a_common_value_are_apart() {
        let e = |low: f64, high: f64| Estimate { mean: (low + high) / 2.0, low, high, users: 9 };
        assert!(apart(&e(0.1, 0.2), &e(0.3, 0.4)) && apart(&e(0.3, 0.4), &e(0.1, 0.2)));
        assert!(!apart(&e(0.1, 0.2), &e(0.2, 0.4)));
        assert!(!apart(&e(0.1, 0.1), &e(0.3, 0.3)), "points have no intervals");
    }
}
