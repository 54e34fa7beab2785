//! A comparison as text for the terminal and as Markdown.

use super::{Comparison, ListChange, MetricChange, SpecChange};
use crate::metric::Estimate;
use crate::report::names::Name;
use crate::report::numbers::{THIN_SPACE, count, decimals, fixed, interval, percent, signed};
use crate::report::plain::{clean, code, left, markdown, right};

/// Both values at the same precision, with their intervals, and the difference.
struct Written {
    old: String,
    new: String,
    difference: String,
}

fn written(change: &MetricChange) -> Written {
    let digits = decimals([change.old, change.new].iter());
    let value = |e: &Estimate| format!("{} {}", fixed(e.mean, digits), interval(e, digits, fixed));
    Written {
        old: value(&change.old).trim_end().into(),
        new: value(&change.new).trim_end().into(),
        difference: signed(change.new.mean - change.old.mean, digits),
    }
}

/// The metrics that moved at all.
fn shown(comparison: &Comparison) -> Vec<&MetricChange> {
    comparison.metrics.iter().filter(|m| m.old != m.new).collect()
}

fn value(side: &Option<String>) -> &str {
    side.as_deref().unwrap_or("(not there)")
}

/// For the terminal: aligned columns, no escape sequences.
pub fn render_text(comparison: &Comparison) -> String {
    let c = comparison;
    let mut lines = vec![format!("{} → {}", clean(&c.old), clean(&c.new))];
    lines.extend(c.alarms.iter().map(|alarm| format!("! {}", clean(alarm))));
    lines.extend(c.arms_gone.iter().map(|arm| format!("arm gone: {}", clean(arm))));
    lines.extend(c.arms_added.iter().map(|arm| format!("arm added: {}", clean(arm))));
    if !c.spec.is_empty() {
        lines.extend([String::new(), "job".into()]);
    }
    lines.extend(c.spec.iter().map(|SpecChange { path, old, new }| {
        format!("  {}: {} → {}", clean(path), clean(value(old)), clean(value(new)))
    }));
    let metrics = shown(c);
    let same = c.metrics.len() - metrics.len();
    lines.extend([String::new(), format!("metrics ({same} the same; * intervals apart)")]);
    lines.extend(metrics.into_iter().map(metric_text));
    if !c.lists.is_empty() {
        let heads = ["users", "changed", "Jaccard", "overlap", "RBO"].map(|h| right(h, 9));
        lines.extend([
            String::new(),
            format!("{} {}", left(&format!("lists, top {}", c.lists[0].k), 22), heads.join(" ")),
        ]);
    }
    lines.extend(c.lists.iter().flat_map(list_text));
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn metric_text(change: &MetricChange) -> String {
    let w = written(change);
    let star = if change.apart { "*" } else { " " };
    let (arm, label) = (left(&change.arm, 20), left(&label(&change.metric), 14));
    let (old, new) = (right(&w.old, 23), left(&w.new, 23));
    format!("{star} {arm} {label} {old} → {new} {}", right(&w.difference, 8))
}

fn list_text(l: &ListChange) -> Vec<String> {
    let figures = [
        count(l.users, ","),
        percent(l.changed, 1),
        fixed(l.jaccard, 3),
        fixed(l.overlap, 3),
        fixed(l.rank_biased_overlap, 3),
    ];
    let figures = figures.map(|f| right(&f, 9)).join(" ");
    let mut lines = vec![format!("  {} {figures}", left(&l.arm, 20))];
    if l.users_gone + l.users_added > 0 {
        let (gone, added) = (count(l.users_gone, ","), count(l.users_added, ","));
        lines.push(format!("    users gone {gone}, added {added}"));
    }
    lines
}

fn label(metric: &str) -> String {
    let label = Name::parse(metric).label;
    if metric.starts_with("oracle-") { format!("o:{label}") } else { label }
}

/// The same in Markdown.
pub fn render_markdown(comparison: &Comparison) -> String {
    let c = comparison;
    let mut lines = vec![format!("# {} → {}", code(&c.old), code(&c.new)), String::new()];
    if c.alarms.is_empty() {
        lines.push("Nothing moved by more than drift.".into());
    }
    lines.extend(c.alarms.iter().map(|alarm| format!("- **!** {}", markdown(alarm))));
    lines.extend(c.arms_gone.iter().map(|arm| format!("- arm gone: {}", markdown(arm))));
    lines.extend(c.arms_added.iter().map(|arm| format!("- arm added: {}", markdown(arm))));
    if !c.spec.is_empty() {
        lines.extend(head("Job", "| key | old | new |", "| --- | --- | --- |"));
    }
    lines.extend(c.spec.iter().map(|SpecChange { path, old, new }| {
        format!("| {} | {} | {} |", code(path), code(value(old)), code(value(new)))
    }));
    let metrics = shown(c);
    if !metrics.is_empty() {
        let heads = "| arm | metric | old | new | difference | apart |";
        lines.extend(head("Metrics", heads, "| --- | --- | ---: | ---: | ---: | --- |"));
    }
    lines.extend(metrics.into_iter().map(metric_markdown));
    if !c.lists.is_empty() {
        let heads = "| arm | k | users | gone | added | changed | Jaccard | overlap | RBO |";
        lines.extend(head("Lists", heads, &format!("| --- {}|", "| ---: ".repeat(8))));
    }
    lines.extend(c.lists.iter().map(list_markdown));
    lines.join("\n") + "\n"
}

fn head(title: &str, heads: &str, rule: &str) -> Vec<String> {
    let title = format!("## {title}");
    vec![String::new(), title, String::new(), heads.into(), rule.into()]
}

fn metric_markdown(change: &MetricChange) -> String {
    let w = written(change);
    let (arm, label) = (markdown(&change.arm), markdown(&label(&change.metric)));
    let apart = if change.apart { "yes" } else { "" };
    format!("| {arm} | {label} | {} | {} | {} | {apart} |", w.old, w.new, w.difference)
}

fn list_markdown(l: &ListChange) -> String {
    let cells = [
        markdown(&l.arm),
        l.k.to_string(),
        count(l.users, THIN_SPACE),
        count(l.users_gone, THIN_SPACE),
        count(l.users_added, THIN_SPACE),
        percent(l.changed, 1),
        fixed(l.jaccard, 3),
        fixed(l.overlap, 3),
        fixed(l.rank_biased_overlap, 3),
    ];
    format!("| {} |", cells.join(" | "))
}
