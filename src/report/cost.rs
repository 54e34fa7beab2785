//! What arms cost beside retrieval alone: exact counts of what models read, and the time that
//! follows from how fast this run was. Shared by HTML and Markdown.

use super::model::{ArmCost, ArmTime, Report, SweepPoint, Timings};
use super::numbers::{NOTHING, THIN_SPACE, count, fixed, percent, short};
use crate::types::Cost;
use serde::Serialize;
use std::fmt::Write;

/// Of so many users the costs are told.
const USERS: f64 = 1000.0;

/// The columns after the first.
pub(super) const COLUMNS: [&str; 5] =
    ["prompts", "tokens", "seconds", "machine-hours", "× retrieval"];

/// An arm on a line of its own, or a sweep's arms of one name at so many candidates and controls.
#[derive(Debug, Serialize)]
pub(super) struct CostRow {
    pub what: String,
    pub cells: [String; 5],
}

/// What is counted, and where the seconds come from.
pub(super) fn note(report: &Report) -> String {
    let mut note = "For a thousand users. Prompts and tokens are exact: each prompt counts whole, \
        for each arm, although what prompts of one user begin with alike may be computed once, \
        and what several arms ask alike is."
        .to_owned();
    match &report.timings {
        Some(timings) => {
            // Writing to a `String` cannot fail.
            let _ = write!(
                note,
                " Seconds are of one thread and estimates: what this run last took to read and \
                 retrieve, for the arm's other methods, and for a token of its models (prompts \
                 made, read and shared as they were), times its tokens. Machine-hours are of \
                 this machine with its {} workers busy.",
                timings.workers
            );
        }
        None => note.push_str(" How long it took is not known here."),
    }
    let times = timings(report).map_or(&[][..], |timings| &timings.arms);
    for (arm, share) in times.iter().filter_map(|time| Some((&time.arm, time.reused?))) {
        let _ = write!(note, " {} of {arm}'s tokens had been read before.", percent(share, 0));
    }
    note
}

/// Retrieval alone, every arm, and what a sweep's arms with a model cost; empty where no arm has
/// one.
pub(super) fn rows(report: &Report) -> Vec<CostRow> {
    if report.costs.is_empty() {
        return Vec::new();
    }
    let none = Cost::default();
    let first = row(report, "retrieval alone".into(), none, retrieval(report));
    let arm =
        |of: &ArmCost| row(report, of.arm.clone(), of.cost, seconds(report, &of.arm, of.cost));
    let arms = report.costs.iter().map(arm);
    [first].into_iter().chain(arms).chain(swept(report)).collect()
}

fn row(report: &Report, what: String, cost: Cost, seconds: f64) -> CostRow {
    let each = |count: u64| count as f64 * USERS / report.facts.users.max(1) as f64;
    let whole = |value: f64| count(value.round() as u64, THIN_SPACE);
    let workers = report.timings.as_ref().map_or(f64::NAN, |t| f64::from(t.workers.max(1)));
    let ratio = seconds / retrieval(report);
    let times = if ratio.is_finite() { format!("{} ×", short(ratio)) } else { NOTHING.into() };
    let cells = [
        whole(each(cost.prompts)),
        whole(each(cost.tokens)),
        short(seconds),
        fixed(seconds / workers / 3600.0, 6),
        times,
    ];
    CostRow { what, cells }
}

fn timings(report: &Report) -> Option<&Timings> {
    report.timings.as_ref()
}

/// Seconds that retrieval takes; NaN if unknown.
fn retrieval(report: &Report) -> f64 {
    timings(report).and_then(|timings| timings.retrieval).map_or(f64::NAN, |one| one * USERS)
}

/// Seconds that an arm of the job takes to read so much; NaN if unknown.
fn seconds(report: &Report, arm: &str, cost: Cost) -> f64 {
    let named = |time: &&ArmTime| time.arm == arm;
    let Some(time) = timings(report).and_then(|timings| timings.arms.iter().find(named)) else {
        return f64::NAN;
    };
    let tokens = cost.tokens as f64 / report.facts.users.max(1) as f64;
    let models = match time.models {
        _ if cost.tokens == 0 => 0.0,
        None => f64::NAN,
        Some(token) => token * tokens,
    };
    retrieval(report) + (time.methods + models) * USERS
}

/// For each number of candidates and of controls, each name of arms that has a model: what the
/// arm of it that reads most costs (weights alone change nothing).
fn swept(report: &Report) -> Vec<CostRow> {
    let Some(sweep) = &report.sweep else { return Vec::new() };
    let mut rows = Vec::new();
    let mut seen: Vec<(u64, Option<u64>)> = Vec::new();
    for point in &sweep.points {
        if seen.contains(&(point.k, point.controls)) {
            continue;
        }
        seen.push((point.k, point.controls));
        for (family, cost) in families(report, point) {
            let what = format!("{family}, K = {}, {}", point.k, point.asked());
            rows.push(row(report, what, cost, seconds(report, family, cost)));
        }
    }
    rows
}

fn families<'a>(report: &'a Report, point: &SweepPoint) -> Vec<(&'a str, Cost)> {
    let mut found: Vec<(&str, Cost)> = Vec::new();
    for arm in report.sweep.iter().flat_map(|sweep| &sweep.arms) {
        let named = |cost: &&ArmCost| cost.arm == arm.name && cost.cost.prompts > 0;
        let Some(ArmCost { cost, .. }) = point.costs.iter().find(named) else { continue };
        match found.iter_mut().find(|(family, _)| *family == arm.family) {
            None => found.push((&arm.family, *cost)),
            Some((_, most)) if cost.tokens > most.tokens => *most = *cost,
            Some(_) => {}
        }
    }
    found
}
