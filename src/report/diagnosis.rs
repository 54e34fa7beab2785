//! Failure signatures in words: where a figure passes a threshold, what that means, and what to do.
//!
//! The thresholds are rules of thumb, the same for every run; each finding says its own.

use super::headline::{control_of, pick, relevance_of, subject};
use super::model::{Report, SweepPoint};
use super::names::Group;
use super::numbers::{decimals, fixed, interval, percent, signed};
use super::table::names_of;
use crate::metric::{ArmSummary, Summary};

/// A figure that depends on users and candidates alone, and when it speaks of failure.
struct Signature {
    family: &'static str,
    cutoff: u32,
    /// Whether it does so above the threshold, or else below.
    above: bool,
    threshold: f64,
    /// Stands before and after the figure.
    says: [&'static str; 2],
    advice: &'static str,
}

const SIGNATURES: [Signature; 4] = [
    Signature {
        family: "empty-pool",
        cutoff: 0,
        above: true,
        threshold: 0.05,
        says: ["Empty pools: for", "of users no candidate meets what they asked for"],
        advice: "retrieve more (which helps wishes that are not drawn from the candidates), ask \
                 for less, or lower θ; no order can help these users",
    },
    Signature {
        family: "ceiling-cp",
        cutoff: 3,
        above: false,
        threshold: 0.8,
        says: ["Pools with too few satisfying items: the best order fills", "of the first places"],
        advice: "retrieve more or lower θ, and read CP against this ceiling",
    },
    Signature {
        family: "unmet-control",
        cutoff: 0,
        above: true,
        threshold: 0.2,
        says: ["Controls without a match: for", "of users no candidate meets some control"],
        advice: "retrieve by the controls, or offer only those that candidates can meet",
    },
    Signature {
        family: "target-unmet",
        cutoff: 0,
        above: true,
        threshold: 0.5,
        says: ["Ground truth against the controls: for", "of users it meets fewer than θ of them"],
        advice: "expect NDCG and HR to fall as CP rises: they reward what was not asked for",
    },
];

/// Users whose history agrees with nothing that they ask for: the share that is told.
const AGAINST_HISTORY: f64 = 0.3;

/// What the figures say is wrong, each in a sentence or two.
pub(super) fn findings(report: &Report) -> Vec<String> {
    let points: Vec<SweepPoint> = match &report.sweep {
        Some(sweep) => sweep.points.clone(),
        None => vec![SweepPoint { summary: report.summary.clone(), ..SweepPoint::default() }],
    };
    let found = SIGNATURES.iter().filter_map(|signature| finding(signature, report, &points));
    found.chain(no_better(&points)).chain(against_history(report, &points)).collect()
}

/// What a run without a finding was looked at for.
pub(super) fn thresholds() -> String {
    let one = |s: &Signature| {
        let side = if s.above { "above" } else { "below" };
        format!("{} {side} {}", s.family, percent(s.threshold, 0))
    };
    SIGNATURES.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn finding(signature: &Signature, report: &Report, points: &[SweepPoint]) -> Option<String> {
    let groups = [Group::Stated, Group::Oracle];
    let figure = |point: &SweepPoint| {
        let name = pick(&names_of(&point.summary), &groups, &[signature.family], signature.cutoff)?;
        let value = point.summary.arms.first()?.metrics.get(&name.full)?.mean;
        Some((value, if signature.above { value } else { -value }))
    };
    let limit = if signature.above { signature.threshold } else { -signature.threshold };
    let failed: Vec<(&SweepPoint, f64, f64)> = points
        .iter()
        .filter_map(|point| figure(point).map(|(value, badness)| (point, value, badness)))
        .filter(|(.., badness)| *badness > limit)
        .collect();
    let (worst, value, _) = failed.iter().max_by(|a, b| a.2.total_cmp(&b.2))?;
    let at = place(report, (failed.len(), points.len()), worst);
    let Signature { says: [before, after], advice, above, .. } = signature;
    let side = if *above { "above" } else { "below" };
    let threshold = percent(signature.threshold, 0);
    let value = percent(*value, 1);
    Some(format!("{before} {value} {after}{at} ({side} {threshold}): {advice}."))
}

/// Where a finding was made; nothing for a run without a sweep.
fn place(report: &Report, (failed, all): (usize, usize), worst: &SweepPoint) -> String {
    if report.sweep.is_none() {
        return String::new();
    }
    let label = worst.label();
    format!(", at the worst of {failed} of {all} points, K = {}, {label}", worst.k)
}

/// Adapters whose control is not better than that of the model as it came.
fn no_better(points: &[SweepPoint]) -> Option<String> {
    let control = |point: &SweepPoint| control_of(&names_of(&point.summary));
    let differences = points.iter().filter_map(|point| Some((point, control(point)?)));
    let differences: Vec<_> = differences
        .flat_map(|(point, name)| {
            let of = move |pair: &super::model::Learned| {
                let difference = *pair.difference.get(&name.full)?;
                Some((pair.arm.clone(), pair.zero_shot.clone(), name.label.clone(), difference))
            };
            point.learned.iter().filter_map(of)
        })
        .collect();
    let failed: Vec<_> = differences.iter().filter(|(.., d)| d.low <= 0.0).collect();
    let (arm, zero, label, least) = failed.iter().min_by(|a, b| a.3.mean.total_cmp(&b.3.mean))?;
    let digits = decimals([least].into_iter());
    Some(format!(
        "An adapter no better than zero-shot: {arm} against {zero} has {label} {} {}, and in {} \
         of {} comparisons the interval does not exclude 0 from above: train it longer or on more \
         examples before paying for it.",
        signed(least.mean, digits),
        interval(least, digits, signed),
        failed.len(),
        differences.len()
    ))
}

/// Users who ask for what nothing of their history has, and what the report's arm does for them.
fn against_history(report: &Report, points: &[SweepPoint]) -> Option<String> {
    let share = |point: &SweepPoint| {
        let slices = &arm_of(report, &point.summary)?.slices;
        let by_agreement = slices.iter().filter(|slice| slice.dimension == "history-agreement");
        let all: u64 = by_agreement.clone().map(|slice| slice.users).sum();
        let none = by_agreement.filter(|slice| slice.label == "none").map(|s| s.users).sum::<u64>();
        (all > 0).then(|| none as f64 / all as f64)
    };
    let shares = points.iter().filter_map(|point| Some((point, share(point)?)));
    let failed: Vec<(&SweepPoint, f64)> =
        shares.filter(|(_, share)| *share > AGAINST_HISTORY).collect();
    let (worst, share) = failed.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let arm = arm_of(report, &worst.summary)?;
    let names = names_of(&worst.summary);
    let told =
        [relevance_of(&names), control_of(&names)].into_iter().flatten().filter_map(|name| {
            let slice = arm.slices.iter().find(|slice| slice.label == "none")?;
            let (there, all) = (slice.metrics.get(&name.full)?, arm.metrics.get(&name.full)?);
            let digits = decimals([there, all].into_iter());
            let (there, all) = (fixed(there.mean, digits), fixed(all.mean, digits));
            Some(format!("{} {there} ({all} for everybody)", name.label))
        });
    let told: Vec<String> = told.collect();
    Some(format!(
        "Controls against the history: {} of users ask for what nothing in it meets{} (above {}); \
         {} has {} there: they want something new, so read their slice apart.",
        percent(*share, 1),
        place(report, (failed.len(), points.len()), worst),
        percent(AGAINST_HISTORY, 0),
        arm.arm,
        told.join(" and ")
    ))
}

/// The arm the report is about, at a point: of a family with weights the one in the middle.
pub(super) fn arm_of<'a>(report: &'a Report, summary: &'a Summary) -> Option<&'a ArmSummary> {
    let name = subject(report).map(|arm| arm.arm.as_str())?;
    let Some(sweep) = &report.sweep else {
        return summary.arms.iter().find(|arm| arm.arm == name);
    };
    let family: Vec<&str> =
        sweep.arms.iter().filter(|arm| arm.family == name).map(|arm| arm.name.as_str()).collect();
    let middle = family.get(family.len() / 2)?;
    summary.arms.iter().find(|arm| arm.arm == *middle)
}
