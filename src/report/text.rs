//! The one screen at the end of a run: at most 24 lines of 100 columns, no escape sequences.

use super::headline::{claims, warnings};
use super::model::Report;
use super::names::{Better, Name};
use super::numbers::{count, decimals, duration, fixed, short};
use super::plain::{cut, left, right, wrap};
use super::table::{names, split, verdict};
use crate::metric::ArmSummary;

const COLUMNS: usize = 100;
const LINES: usize = 24;
/// Of a metric's column.
const WIDTH: usize = 13;
const ARMS_MAX: usize = 7;
const METRICS_MAX: usize = 6;
const WARNINGS_MAX: usize = 2;
const FAULTS_MAX: usize = 2;

/// What came of the run, for the terminal.
pub fn summary_text(report: &Report) -> String {
    let mut lines =
        vec![cut(&format!("{} · {} · {}", report.job, report.kind, report.run), COLUMNS)];
    lines.push(cut(&facts(report), COLUMNS));
    for claim in claims(report) {
        let mark = if claim.mark.is_empty() { "·" } else { claim.mark };
        lines.extend(bullet(mark, &claim.sentence));
    }
    lines.extend(arms(report));
    lines.extend(expectations(report));
    for fault in report.faults.iter().take(FAULTS_MAX) {
        let count = count(fault.count, ",");
        lines.push(cut(&format!("fault {count} × {}: {}", fault.stage, fault.reason), COLUMNS));
    }
    if report.faults.len() > FAULTS_MAX {
        lines.push(format!("fault … other reasons: {}", report.faults.len() - FAULTS_MAX));
    }
    lines.extend(warnings(report).iter().take(WARNINGS_MAX).flat_map(|w| bullet("!", w)));
    lines.truncate(LINES);
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// At most two lines under one mark.
fn bullet(mark: &str, text: &str) -> Vec<String> {
    let mut folded = wrap(text, COLUMNS - 2);
    if folded.len() > 2 {
        folded.truncate(2);
        folded[1] = cut(&format!("{} …", folded[1]), COLUMNS - 2);
    }
    let mark = |at| if at == 0 { mark } else { " " };
    folded.iter().enumerate().map(|(at, line)| format!("{} {line}", mark(at))).collect()
}

fn facts(report: &Report) -> String {
    let f = &report.facts;
    let mut parts: Vec<String> =
        [("users", f.users), ("items", f.items), ("interactions", f.interactions)]
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(name, n)| format!("{} {name}", count(*n, ",")))
            .collect();
    parts.push(format!("{} faults", count(f.rows_faulted, ",")));
    if report.conflicts > 0 {
        parts.push(format!("{} conflicts", count(report.conflicts, ",")));
    }
    if let Some(t) = &report.timings {
        parts.push(duration(t.seconds));
        if t.seconds > 0.0 && f.rows_read > 0 {
            parts.push(format!("{} rows/s", short(f.rows_read as f64 / t.seconds)));
        }
    }
    parts.join(" · ")
}

/// One line an arm: the metrics that are read first, with their verdicts.
fn arms(report: &Report) -> Vec<String> {
    let names = names(report);
    let shown: Vec<&Name> =
        split(&names).0.into_iter().filter(|n| n.better != Better::Neither).collect();
    // Accuracy, control and the rest each get a place before any gets a second.
    let mut columns: Vec<&Name> = Vec::new();
    for round in 0..METRICS_MAX {
        for group in super::names::Group::ALL {
            columns.extend(shown.iter().copied().filter(|n| n.group == group).nth(round));
        }
    }
    columns.truncate(METRICS_MAX);
    columns.sort_by(|a, b| a.order().cmp(&b.order()));
    if columns.is_empty() {
        return Vec::new();
    }
    let mut head = left("arm", 22);
    for name in &columns {
        let oracle = if name.full.starts_with("oracle-") { "o:" } else { "" };
        head += &format!(" {} ", right(&format!("{oracle}{}", name.label), WIDTH - 2));
    }
    let mut lines = vec![String::new(), head];
    let arms = &report.summary.arms;
    lines.extend(arms.iter().take(ARMS_MAX).map(|arm| arm_line(report, arm, &columns)));
    if arms.len() > ARMS_MAX {
        lines.push(format!("… and {} more arms", arms.len() - ARMS_MAX));
    }
    let legend = "* published   ▲ better ▼ worse beyond the 95 % interval of the difference to";
    lines.push(cut(&format!("{legend} {}", report.summary.baseline), COLUMNS));
    lines.push(String::new());
    lines
}

fn arm_line(report: &Report, arm: &ArmSummary, names: &[&Name]) -> String {
    let published = report.published.as_deref() == Some(arm.arm.as_str());
    let star = if published { "*" } else { " " };
    let mut line = format!("{star}{}", left(&arm.arm, 21));
    for name in names {
        let values = report.summary.arms.iter().filter_map(|a| a.metrics.get(&name.full));
        let value = arm.metrics.get(&name.full).map_or(f64::NAN, |e| e.mean);
        let difference = arm.versus_baseline.get(&name.full);
        let mark = match difference.map(|d| verdict(d, name.better).mark()) {
            None | Some("") => " ",
            Some(mark) => mark,
        };
        line += &right(&format!("{}{mark}", fixed(value, decimals(values).min(4))), WIDTH);
    }
    line
}

fn expectations(report: &Report) -> Vec<String> {
    if report.expectations.is_empty() {
        return Vec::new();
    }
    let met = report.expectations.iter().filter(|e| e.met).count();
    let mut lines = vec![format!("expected: {met} of {} met", report.expectations.len())];
    lines.extend(report.expectations.iter().filter(|e| !e.met).take(3).map(|e| {
        let found = fixed(e.found.unwrap_or(f64::NAN), 4);
        let text = format!(
            "✗ {} of {}: expected {} ± {}, found {found}",
            Name::parse(&e.metric).label,
            e.arm,
            fixed(e.expected, 4),
            fixed(e.tolerance, 4)
        );
        cut(&text, COLUMNS)
    }));
    lines
}
