//! What the run says in a sentence or two, and what to know before believing it.

use super::model::Report;
use super::names::{Better, Group, Name};
use super::numbers::{THIN_SPACE, count, decimals, fixed, has_interval, interval, percent, signed};
use super::table::{Verdict, names, verdict};
use crate::metric::{ArmSummary, Estimate};
use serde::Serialize;

/// One sentence on one metric.
#[derive(Debug, Serialize)]
pub(super) struct Claim {
    pub sentence: String,
    pub verdict: Verdict,
    pub mark: &'static str,
}

/// The arm the report is about: the published one, else the first that is not the baseline.
pub(super) fn subject(report: &Report) -> Option<&ArmSummary> {
    let arms = &report.summary.arms;
    let published = arms.iter().find(|a| Some(a.arm.as_str()) == report.published.as_deref());
    published.or_else(|| arms.iter().find(|a| a.arm != report.summary.baseline)).or(arms.first())
}

/// The arm that differences are to.
pub(super) fn baseline(report: &Report) -> Option<&ArmSummary> {
    report.summary.arms.iter().find(|a| a.arm == report.summary.baseline)
}

/// The metric that stands for accuracy: NDCG, else HR, MRR, recall; near the tenth place.
pub(super) fn relevance(report: &Report) -> Option<Name> {
    relevance_of(&names(report))
}

/// The metric that stands for control: CP of stated controls, else of oracle controls.
pub(super) fn control(report: &Report) -> Option<Name> {
    control_of(&names(report))
}

/// The metric that stands for requests in people's own words.
pub(super) fn satisfaction(report: &Report) -> Option<Name> {
    let names: Vec<Name> =
        names(report).into_iter().filter(|n| n.full.starts_with("satisfaction@")).collect();
    pick(&names, &[Group::Request], &["satisfaction"], 10)
}

/// As [`relevance`], of some metrics.
pub(super) fn relevance_of(names: &[Name]) -> Option<Name> {
    pick(names, &[Group::Accuracy], &["ndcg", "hit", "mrr", "recall"], 10)
}

/// As [`control`], of some metrics.
pub(super) fn control_of(names: &[Name]) -> Option<Name> {
    pick(names, &[Group::Stated, Group::Oracle], &["cp"], 3)
}

/// Of the first family in the first group that some metrics have, the one nearest to a cut-off.
pub(super) fn pick(
    names: &[Name],
    groups: &[Group],
    families: &[&str],
    cutoff: u32,
) -> Option<Name> {
    groups
        .iter()
        .flat_map(|group| families.iter().map(move |family| (*group, *family)))
        .find_map(|(group, family)| {
            names
                .iter()
                .filter(|n| n.group == group && n.is(family))
                .min_by_key(|n| n.cutoff.unwrap_or(0).abs_diff(cutoff))
        })
        .cloned()
}

/// The sentences at the top: accuracy, then control; for a training, its best epoch.
pub(super) fn claims(report: &Report) -> Vec<Claim> {
    let claims: Vec<Claim> = [relevance(report), control(report), satisfaction(report)]
        .into_iter()
        .flatten()
        .filter_map(|name| claim(report, &name))
        .collect();
    if !claims.is_empty() {
        return claims;
    }
    training_claim(report).into_iter().collect()
}

fn claim(report: &Report, name: &Name) -> Option<Claim> {
    let arm = subject(report)?;
    let value = arm.metrics.get(&name.full)?;
    let role =
        if report.published.as_deref() == Some(&arm.arm) { ", the published arm," } else { "" };
    let digits = decimals([value].into_iter());
    let label = match name.group {
        Group::Oracle => format!("{} (oracle controls)", name.label),
        _ => name.label.clone(),
    };
    let start = format!("{}{role} has {label} {}", arm.arm, fixed(value.mean, digits));
    let other = baseline(report)
        .filter(|b| b.arm != arm.arm)
        .and_then(|b| Some((b, b.metrics.get(&name.full)?, arm.versus_baseline.get(&name.full)?)));
    let Some((baseline, from, difference)) = other else {
        let interval = interval(value, digits, fixed);
        let interval = if interval.is_empty() { interval } else { format!(" {interval}") };
        return Some(Claim {
            sentence: format!("{start}{interval}."),
            verdict: Verdict::Unclear,
            mark: "",
        });
    };
    let verdict = verdict(difference, name.better);
    Some(Claim {
        sentence: format!(
            "{start} against {} for {}: {}.",
            fixed(from.mean, digits),
            baseline.arm,
            written(difference, verdict, name.better)
        ),
        verdict,
        mark: verdict.mark(),
    })
}

/// `−0.0018, 95 % interval [−0.0031, −0.0005], significantly worse`.
fn written(difference: &Estimate, verdict: Verdict, better: Better) -> String {
    let digits = decimals([difference].into_iter());
    let mean = signed(difference.mean, digits);
    if !has_interval(difference) {
        return format!("{mean}, without an interval");
    }
    let says = match (verdict, better) {
        (Verdict::Better, _) => "significantly better",
        (Verdict::Worse, _) => "significantly worse",
        (Verdict::Differs, _) => "significantly different",
        (Verdict::Unclear, _) => "not significant",
    };
    format!("{mean}, 95 % interval {}, {says}", interval(difference, digits, signed))
}

fn training_claim(report: &Report) -> Option<Claim> {
    let best = best_epoch(report)?;
    let (epoch, ndcg) = (best.0, fixed(best.1, 4));
    let last = report.training.last()?.epoch;
    Some(Claim {
        sentence: format!(
            "Best validation {} {ndcg} at epoch {epoch} of {last}.",
            report.validated_by()
        ),
        verdict: Verdict::Unclear,
        mark: "",
    })
}

/// The epoch with the highest validation NDCG, the earlier of equals.
pub(super) fn best_epoch(report: &Report) -> Option<(u32, f64)> {
    report
        .training
        .iter()
        .filter_map(|p| Some((p.epoch, p.validation_ndcg.filter(|n| n.is_finite())?)))
        .reduce(|best, p| if p.1 > best.1 { p } else { best })
}

/// What the reader should know before believing a figure: the report's own warnings, then those
/// that follow from its figures.
pub fn warnings(report: &Report) -> Vec<String> {
    let mut all = report.warnings.clone();
    all.extend(unmet(report));
    all.extend(ceiling(report));
    all.extend(undecided(report));
    if names(report).iter().any(|n| n.group == Group::Oracle) {
        all.push(
            "Oracle controls are read off the held-out item and leak the answer: their figures \
             are an upper bound, in a table of their own."
                .into(),
        );
    }
    if report.summary.replicates == 0 && report.summary.arms.len() > 1 {
        all.push(
            "No bootstrap replicates were drawn: no difference can be called significant.".into(),
        );
    }
    all.extend(given_up(report));
    all
}

fn unmet(report: &Report) -> Option<String> {
    let unmet = report.expectations.iter().filter(|e| !e.met).count();
    let all = report.expectations.len();
    (unmet > 0).then(|| format!("{unmet} of {all} expectations of the job are not met."))
}

fn ceiling(report: &Report) -> Option<String> {
    let name =
        names(report).into_iter().filter(|n| n.is("retrieval-ceiling")).max_by_key(|n| n.cutoff)?;
    let share = subject(report)?.metrics.get(&name.full)?.mean;
    (share < 0.9).then(|| {
        format!(
            "Retrieval caps every arm: for {} of users no held-out item is among the candidates, \
             so no re-ranking can have a hit rate above {}.",
            percent(1.0 - share, 1),
            fixed(share, 3)
        )
    })
}

fn undecided(report: &Report) -> Option<String> {
    let (name, arm) = (relevance(report)?, subject(report)?);
    let difference = arm.versus_baseline.get(&name.full)?;
    let spans = has_interval(difference) && verdict(difference, name.better) == Verdict::Unclear;
    spans.then(|| {
        format!(
            "On {} the interval of {} against {} holds 0: this run cannot tell them apart.",
            name.label, arm.arm, report.summary.baseline
        )
    })
}

fn given_up(report: &Report) -> Option<String> {
    let facts = &report.facts;
    (facts.rows_faulted > 0).then(|| {
        let share = facts.rows_faulted as f64 / facts.rows_read.max(facts.rows_faulted) as f64;
        format!(
            "{} faults ({} of rows): rows, or parts of rows, that were given up; the \
             dead-letter files hold them.",
            count(facts.rows_faulted, THIN_SPACE),
            percent(share, 2)
        )
    })
}
