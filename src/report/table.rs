//! Arms × metrics as a grid of written cells: shared by HTML and Markdown, so that they never
//! disagree.

use super::model::Report;
use super::names::{Better, Group, Name};
use super::numbers::{decimals, fixed, interval, signed};
use crate::metric::{ArmSummary, Estimate, Summary};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a paired difference says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// The interval excludes nought on the better side.
    Better,
    /// The interval excludes nought on the worse side.
    Worse,
    /// The interval excludes nought, and neither side is better.
    Differs,
    /// The interval holds nought, or there is none.
    Unclear,
}

/// As many metrics as fit a page with their intervals.
const COLUMNS_MAX: usize = 6;

/// One group's metrics at some cut-offs.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub title: String,
    pub note: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

/// A metric.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    pub metric: String,
    pub label: String,
    /// `higher is better`, `lower is better`, or empty.
    pub hint: &'static str,
    /// The hint as a mark.
    pub arrow: &'static str,
}

/// An arm.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub arm: String,
    pub baseline: bool,
    pub published: bool,
    pub cells: Vec<Cell>,
}

/// A value, its interval, and its paired difference to the baseline.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub value: String,
    pub interval: String,
    pub difference: Option<String>,
    pub difference_interval: String,
    pub verdict: Verdict,
    pub mark: &'static str,
}

/// Every metric that some arm has, in the order of the report.
pub(super) fn names(report: &Report) -> Vec<Name> {
    names_of(&report.summary)
}

/// Every metric that some arm of a summary has, in the order of the report.
pub(super) fn names_of(summary: &Summary) -> Vec<Name> {
    let all: BTreeMap<&str, Name> = summary
        .arms
        .iter()
        .flat_map(|arm| arm.metrics.keys())
        .map(|full| (full.as_str(), Name::parse(full)))
        .collect();
    let mut names: Vec<Name> = all.into_values().collect();
    names.sort_by(|a, b| a.order().cmp(&b.order()));
    names
}

/// The names split in two: of each family the cut-off that is read first, and the other cut-offs.
pub(super) fn split(names: &[Name]) -> (Vec<&Name>, Vec<&Name>) {
    names.iter().partition(|name| {
        let siblings = names.iter().filter(|n| same_family(n, name)).filter_map(|n| n.cutoff);
        name.cutoff == siblings.min_by_key(|k| preference(name.group, *k))
    })
}

fn same_family(a: &Name, b: &Name) -> bool {
    let stem = |name: &Name| name.full.rsplit_once('@').map(|(stem, _)| stem.to_owned());
    a.family == b.family && a.group == b.group && stem(a) == stem(b)
}

/// Lists are read to the tenth place, and controls (six candidates in the paper) to the third.
fn preference(group: Group, cutoff: u32) -> (u32, u32) {
    let usual = if matches!(group, Group::Stated | Group::Oracle) { 3 } else { 10 };
    (cutoff.abs_diff(usual), cutoff)
}

/// The tables of `names`, by group; a group too wide for a page goes on in further tables.
pub(super) fn tables(report: &Report, names: &[&Name]) -> Vec<Table> {
    let mut tables = Vec::new();
    for group in Group::ALL {
        let names: Vec<&Name> = names.iter().filter(|n| n.group == group).copied().collect();
        let parts = names.len().div_ceil(COLUMNS_MAX).max(1);
        let columns = names.len().div_ceil(parts).max(1);
        for (part, names) in names.chunks(columns).enumerate() {
            tables.push(table(report, group, names, part > 0));
        }
    }
    tables
}

fn table(report: &Report, group: Group, names: &[&Name], goes_on: bool) -> Table {
    let title = format!("{}{}", group.title(), if goes_on { ", continued" } else { "" });
    let note = if goes_on { "" } else { group.note() };
    grid(&report.summary, report.published.as_deref(), names, (title, note))
}

/// The arms of a summary and some of its metrics.
pub(super) fn grid(
    summary: &Summary,
    published: Option<&str>,
    names: &[&Name],
    (title, note): (String, &'static str),
) -> Table {
    let arms = &summary.arms;
    let precise: Vec<(usize, usize)> = names
        .iter()
        .map(|name| {
            let values = arms.iter().filter_map(|arm| arm.metrics.get(&name.full));
            let differences = arms.iter().filter_map(|arm| arm.versus_baseline.get(&name.full));
            (decimals(values), decimals(differences))
        })
        .collect();
    let row = |arm: &ArmSummary| Row {
        arm: arm.arm.clone(),
        baseline: arm.arm == summary.baseline,
        published: published == Some(arm.arm.as_str()),
        cells: names.iter().zip(&precise).map(|(name, digits)| cell(arm, name, *digits)).collect(),
    };
    Table {
        title,
        note,
        columns: names.iter().map(|name| column(name)).collect(),
        rows: arms.iter().map(row).collect(),
    }
}

fn column(name: &Name) -> Column {
    let (hint, arrow) = match name.better {
        Better::Higher => ("higher is better", "↑"),
        Better::Lower => ("lower is better", "↓"),
        Better::Neither => ("", ""),
    };
    Column { metric: name.full.clone(), label: name.label.clone(), hint, arrow }
}

fn cell(arm: &ArmSummary, name: &Name, (value_digits, difference_digits): (usize, usize)) -> Cell {
    let unknown = Estimate { mean: f64::NAN, ..Estimate::default() };
    let value = arm.metrics.get(&name.full).unwrap_or(&unknown);
    // Facts of the data are the same for every arm: a column of noughts says nothing.
    let fact = name.family.is_some() && name.better == Better::Neither;
    let difference = arm.versus_baseline.get(&name.full).filter(|d| d.mean.is_finite() && !fact);
    let verdict = difference.map_or(Verdict::Unclear, |d| verdict(d, name.better));
    Cell {
        value: fixed(value.mean, value_digits),
        interval: interval(value, value_digits, fixed),
        difference: difference.map(|d| signed(d.mean, difference_digits)),
        difference_interval: difference
            .map(|d| interval(d, difference_digits, signed))
            .unwrap_or_default(),
        verdict,
        mark: verdict.mark(),
    }
}

/// Whether a paired difference is better or worse: only if its interval excludes nought.
pub(super) fn verdict(difference: &Estimate, better: Better) -> Verdict {
    let Estimate { low, high, .. } = *difference;
    // A point without an interval (low = high) says nothing about other users.
    let decided = low < high && (low > 0.0 || high < 0.0);
    match better {
        _ if !decided => Verdict::Unclear,
        Better::Neither => Verdict::Differs,
        Better::Higher if low > 0.0 => Verdict::Better,
        Better::Lower if high < 0.0 => Verdict::Better,
        _ => Verdict::Worse,
    }
}

impl Verdict {
    /// A mark that needs no colour.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Verdict::Better => "▲",
            Verdict::Worse => "▼",
            Verdict::Differs => "≠",
            Verdict::Unclear => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(low: f64, high: f64) -> Estimate {
        Estimate { mean: (low + high) / 2.0, low, high, users: 100 }
    }

    #[test]
    fn only_an_interval_without_nought_decides() {
        assert_eq!(verdict(&difference(0.1, 0.2), Better::Higher), Verdict::Better);
        assert_eq!(verdict(&difference(0.1, 0.2), Better::Lower), Verdict::Worse);
        assert_eq!(verdict(&difference(-0.2, -0.1), Better::Lower), Verdict::Better);
        assert_eq!(verdict(&difference(-0.1, 0.2), Better::Higher), Verdict::Unclear);
        assert_eq!(verdict(&difference(0.0, 0.2), Better::Higher), Verdict::Unclear);
        assert_eq!(verdict(&difference(0.2, 0.2), Better::Higher), Verdict::Unclear);
        assert_eq!(verdict(&difference(f64::NAN, 0.2), Better::Higher), Verdict::Unclear);
        assert_eq!(verdict(&difference(0.1, 0.2), Better::Neither), Verdict::Differs);
    }

    #[test]
    fn each_family_has_one_cut_off_that_is_read_first() {
        let names: Vec<Name> =
            ["ndcg@1", "ndcg@20", "ndcg@10", "cp@1", "cp@3", "oracle-cp@5", "oracle-cp@6", "cd"]
                .iter()
                .map(|n| Name::parse(n))
                .collect();
        let (first, others) = split(&names);
        let full = |names: &[&Name]| names.iter().map(|n| n.full.clone()).collect::<Vec<_>>();
        assert_eq!(full(&first), ["ndcg@10", "cp@3", "oracle-cp@5", "cd"]);
        assert_eq!(full(&others), ["ndcg@1", "ndcg@20", "cp@1", "oracle-cp@6"]);
    }
}
