//! The report for programs: `report.json`, and the rows of `metrics.parquet`.

use super::model::{Report, SweepPoint};
use crate::error::{Error, Result};
use crate::metric::{ArmSummary, Estimate};
use serde::Serialize;
use std::collections::BTreeMap;

/// One row of `metrics.parquet`: one metric of one arm, over all users or over a slice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRow {
    /// The arm.
    pub arm: String,
    /// The metric's name, cut-off included.
    pub metric: String,
    /// What the users were divided by; empty for all users, and `sweep` for all of them at a point.
    pub slice_dimension: String,
    /// Which part, or which point; empty for all users.
    pub slice_label: String,
    /// The mean over users.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// How many users.
    pub users: u64,
    /// Paired difference to the baseline; none for the baseline itself and for parts of the users.
    pub difference: Option<f64>,
    /// Lower end of the difference's interval.
    pub difference_low: Option<f64>,
    /// Upper end of the difference's interval.
    pub difference_high: Option<f64>,
}

/// Every metric of every arm, in the order of arms, then metrics over all users, then slices; then
/// the points of a sweep, as slices of the dimension `sweep`.
pub fn metric_rows(report: &Report) -> Vec<MetricRow> {
    let points = report.sweep.iter().flat_map(|sweep| &sweep.points);
    let arms = report.summary.arms.iter().flat_map(arm_rows);
    arms.chain(points.flat_map(point_rows)).collect()
}

fn point_rows(point: &SweepPoint) -> Vec<MetricRow> {
    let key = point.key();
    let of_arm = |arm: &ArmSummary| -> Vec<MetricRow> {
        let metrics = arm.metrics.iter().map(|(metric, estimate)| {
            row(arm, metric, ("sweep", &key), estimate, arm.versus_baseline.get(metric))
        });
        metrics.collect()
    };
    point.summary.arms.iter().flat_map(of_arm).collect()
}

fn arm_rows(arm: &ArmSummary) -> Vec<MetricRow> {
    let whole = arm.metrics.iter().map(|(metric, estimate)| {
        row(arm, metric, ("", ""), estimate, arm.versus_baseline.get(metric))
    });
    let parts = arm.slices.iter().flat_map(|slice| {
        let place = (slice.dimension.as_str(), slice.label.as_str());
        slice.metrics.iter().map(move |(metric, e)| row(arm, metric, place, e, None))
    });
    whole.chain(parts).collect()
}

fn row(
    arm: &ArmSummary,
    metric: &str,
    (dimension, label): (&str, &str),
    estimate: &Estimate,
    difference: Option<&Estimate>,
) -> MetricRow {
    MetricRow {
        arm: arm.arm.clone(),
        metric: metric.into(),
        slice_dimension: dimension.into(),
        slice_label: label.into(),
        mean: estimate.mean,
        low: estimate.low,
        high: estimate.high,
        users: estimate.users,
        difference: difference.map(|d| d.mean),
        difference_low: difference.map(|d| d.low),
        difference_high: difference.map(|d| d.high),
    }
}

/// `report.json`: the report without its timings, so that equal runs have equal bytes. JSON has no
/// NaN: a figure that nobody could measure is left out.
pub fn render_json(report: &Report) -> String {
    let mut report = report.clone();
    let points = report.sweep.iter_mut().flat_map(|sweep| &mut sweep.points);
    let summaries = points.map(|point| &mut point.summary).chain([&mut report.summary]);
    for arm in summaries.flat_map(|summary| &mut summary.arms) {
        keep_finite(&mut arm.metrics);
        keep_finite(&mut arm.versus_baseline);
        arm.slices.iter_mut().for_each(|slice| keep_finite(&mut slice.metrics));
    }
    let text = serde_json::to_string_pretty(&report);
    text.expect("a report is structs, strings and numbers: maps have string keys") + "\n"
}

fn keep_finite(metrics: &mut BTreeMap<String, Estimate>) {
    metrics.retain(|_, e| e.mean.is_finite() && e.low.is_finite() && e.high.is_finite());
}

/// Reads `report.json` back; the timings are not in it.
///
/// # Errors
/// [`Error::Input`] when the text is not a report of this version.
pub fn from_json(text: &str) -> Result<Report> {
    serde_json::from_str(text).map_err(|e| {
        Error::Input(format!(
            "report.json: expected a report of this version, found {e}: make it again with \
             `steerage report`"
        ))
    })
}
