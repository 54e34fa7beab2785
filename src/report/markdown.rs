//! `report.md`: the same figures for a pull request or a mail.

use super::cost;
use super::diagnosis::findings;
use super::headline::{claims, warnings};
use super::html::{facts, rate};
use super::model::Report;
use super::names::Name;
use super::numbers::{THIN_SPACE, count, duration, fixed, percent};
use super::plain::{code, markdown};
use super::saturation::saturation;
use super::sweep::{extent, sections};
use super::table::{Cell, Column, Row, Table, names, split, tables};
use std::fmt::Write;

/// The report in Markdown (CommonMark with tables). What depends on timings comes last, under
/// headings of its own.
pub fn render_markdown(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    metrics(report, &mut out);
    diagnosis(report, &mut out);
    sweep(report, &mut out);
    saturated(report, &mut out);
    training(report, &mut out);
    sheets(report, &mut out);
    expectations(report, &mut out);
    faults(report, &mut out);
    provenance(report, &mut out);
    costs(report, &mut out);
    timings(report, &mut out);
    out
}

/// Writing to a `String` cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

/// One table: headings, whether each column is of numbers, rows of finished cells.
fn grid(out: &mut String, heads: &[(String, bool)], rows: &[Vec<String>]) {
    let names: Vec<&str> = heads.iter().map(|h| h.0.as_str()).collect();
    line(out, format_args!("\n| {} |", names.join(" | ")));
    let rules: Vec<&str> = heads.iter().map(|h| if h.1 { "---:" } else { "---" }).collect();
    line(out, format_args!("| {} |", rules.join(" | ")));
    rows.iter().for_each(|row| line(out, format_args!("| {} |", row.join(" | "))));
}

fn heads(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names.iter().map(|(name, number)| ((*name).into(), *number)).collect()
}

fn head(report: &Report, out: &mut String) {
    let title = if report.title.is_empty() { &report.job } else { &report.title };
    line(out, format_args!("# {}\n", markdown(title)));
    line(out, format_args!("{} · {}\n", markdown(&report.kind), code(&report.run)));
    for claim in claims(report) {
        let mark = if claim.mark.is_empty() { "·" } else { claim.mark };
        line(out, format_args!("- {mark} {}", markdown(&claim.sentence)));
    }
    let facts: Vec<String> = facts(report).iter().map(|(n, v)| format!("{v} {n}")).collect();
    line(out, format_args!("\n{}", facts.join(" · ")));
    let warnings = warnings(report);
    if !warnings.is_empty() {
        line(out, format_args!(""));
        warnings.iter().for_each(|w| line(out, format_args!("> {}  ", markdown(w))));
    }
}

fn metrics(report: &Report, out: &mut String) {
    let names = names(report);
    if names.is_empty() {
        return;
    }
    line(
        out,
        format_args!(
            "\n## Metrics\n\nMean over users and its 95 % interval, then the paired difference \
             to {}; ▲ better and ▼ worse only where its interval excludes 0.",
            markdown(&report.summary.baseline)
        ),
    );
    let (main, others) = split(&names);
    tables(report, &main).iter().for_each(|t| table(t, out));
    let others = tables(report, &others);
    if !others.is_empty() {
        line(out, format_args!("\n<details><summary>Other cut-offs</summary>"));
        others.iter().for_each(|t| table(t, out));
        line(out, format_args!("\n</details>"));
    }
}

fn table(table: &Table, out: &mut String) {
    line(out, format_args!("\n### {}", table.title));
    if !table.note.is_empty() {
        line(out, format_args!("\n{}", table.note));
    }
    let mut heads = heads(&[("arm", false)]);
    heads.extend(columns(table));
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            let note = match (row.baseline, row.published) {
                (true, true) => " (baseline, published)",
                (true, false) => " (baseline)",
                (false, true) => " **(published)**",
                (false, false) => "",
            };
            let arm = format!("{}{note}", markdown(&row.arm));
            [arm].into_iter().chain(row.cells.iter().map(cell)).collect()
        })
        .collect();
    grid(out, &heads, &rows);
}

fn cell(cell: &Cell) -> String {
    let spaced = |text: &str| if text.is_empty() { String::new() } else { format!(" {text}") };
    let value = format!("{}{}", cell.value, spaced(&cell.interval));
    match &cell.difference {
        None => value,
        Some(difference) => {
            format!("{value}<br>{} {difference}{}", cell.mark, spaced(&cell.difference_interval))
                .replace("<br> ", "<br>")
        }
    }
}

fn diagnosis(report: &Report, out: &mut String) {
    let findings = findings(report);
    if !findings.is_empty() {
        line(out, format_args!("\n## Diagnosis\n"));
        findings.iter().for_each(|f| line(out, format_args!("- {}", markdown(f))));
    }
}

/// A table for each number of candidates: points below each other, arms within.
fn sweep(report: &Report, out: &mut String) {
    let Some(sweep) = &report.sweep else { return };
    line(
        out,
        format_args!(
            "\n## Sweep\n\n{}. The paired differences are to the first arm of the same point.",
            extent(sweep)
        ),
    );
    for section in sections(report) {
        line(out, format_args!("\n<details><summary>{}</summary>", section.title));
        let Some(first) = section.tables.first() else { continue };
        let mut heads = heads(&[("point", false), ("arm", false)]);
        heads.extend(columns(first));
        let rows = section.tables.iter().flat_map(|table| {
            let row = |row: &Row| {
                let names = [table.title.clone(), markdown(&row.arm)];
                names.into_iter().chain(row.cells.iter().map(cell)).collect()
            };
            table.rows.iter().map(row)
        });
        grid(out, &heads, &rows.collect::<Vec<Vec<String>>>());
        line(out, format_args!("\n</details>"));
    }
}

fn saturated(report: &Report, out: &mut String) {
    let Some(found) = saturation(report) else { return };
    line(out, format_args!("\n## Saturation\n\n{}", markdown(&found.note)));
    let mut heads = heads(&[("arm", false)]);
    heads.extend(found.columns.into_iter().map(|name| (name, true)));
    let row = |(what, cells): (String, Vec<String>)| {
        [markdown(&what)].into_iter().chain(cells).collect::<Vec<String>>()
    };
    grid(out, &heads, &found.rows.into_iter().map(row).collect::<Vec<_>>());
}

fn columns(table: &Table) -> impl Iterator<Item = (String, bool)> {
    let column = |c: &Column| format!("{} {}", markdown(&c.label), c.arrow).trim_end().to_owned();
    table.columns.iter().map(move |c| (column(c), true))
}

fn training(report: &Report, out: &mut String) {
    if report.training.is_empty() {
        return;
    }
    line(out, format_args!("\n## Training"));
    let validation = format!("validation {}", report.validated_by());
    let number = |value: Option<f64>| fixed(value.unwrap_or(f64::NAN), 4);
    let rows: Vec<Vec<String>> = report
        .training
        .iter()
        .map(|p| vec![p.epoch.to_string(), number(p.loss), number(p.validation_ndcg)])
        .collect();
    grid(out, &heads(&[("epoch", true), ("loss", true), (&validation, true)]), &rows);
}

fn sheets(report: &Report, out: &mut String) {
    for sheet in &report.sheets {
        line(out, format_args!("\n## {}", markdown(&sheet.title)));
        if !sheet.note.is_empty() {
            line(out, format_args!("\n{}", markdown(&sheet.note)));
        }
        let mut heads = heads(&[(&sheet.head, false)]);
        heads.extend(sheet.columns.iter().map(|name| (markdown(name), true)));
        let row = |(name, cells): &(String, Vec<String>)| {
            std::iter::once(name).chain(cells).map(|cell| markdown(cell)).collect::<Vec<String>>()
        };
        grid(out, &heads, &sheet.rows.iter().map(row).collect::<Vec<_>>());
    }
}

fn expectations(report: &Report, out: &mut String) {
    if report.expectations.is_empty() {
        return;
    }
    line(out, format_args!("\n## Expectations"));
    let rows: Vec<Vec<String>> = report
        .expectations
        .iter()
        .map(|e| {
            vec![
                markdown(&Name::parse(&e.metric).label),
                markdown(&e.arm),
                format!("{} ± {}", fixed(e.expected, 4), fixed(e.tolerance, 4)),
                fixed(e.found.unwrap_or(f64::NAN), 4),
                if e.met { "✓ met".into() } else { "✗ **not met**".into() },
            ]
        })
        .collect();
    let names =
        [("metric", false), ("arm", false), ("expected", true), ("found", true), ("", false)];
    grid(out, &heads(&names), &rows);
}

fn faults(report: &Report, out: &mut String) {
    line(out, format_args!("\n## Faults and conflicts"));
    if report.faults.is_empty() {
        line(out, format_args!("\nNothing was given up."));
    } else {
        let keys = |keys: &[String]| match keys {
            [] => String::new(),
            [one] => code(one),
            [first, rest @ ..] => format!("{} and {} more", code(first), rest.len()),
        };
        let rows: Vec<Vec<String>> = report
            .faults
            .iter()
            .map(|f| {
                let count = count(f.count, THIN_SPACE);
                vec![f.stage.to_string(), markdown(&f.reason), count, keys(&f.keys)]
            })
            .collect();
        let names = [("stage", false), ("reason", false), ("rows", true), ("dead letters", false)];
        grid(out, &heads(&names), &rows);
    }
    let conflicts = count(report.conflicts, THIN_SPACE);
    line(out, format_args!("\nRows whose controls conflict: {conflicts}."));
}

fn provenance(report: &Report, out: &mut String) {
    line(out, format_args!("\n## Provenance\n"));
    line(out, format_args!("- code {}", code(&report.code)));
    line(out, format_args!("- spec and inputs {}", code(&report.spec)));
    for u in &report.upstream {
        let (job, result) = (markdown(&u.job), markdown(&u.result));
        line(out, format_args!("- from {job} {}: {result}", code(&u.run)));
    }
    if !report.commands.is_empty() {
        line(out, format_args!("\nTo get this run again:\n"));
        // Indented, not fenced: no command can close the block.
        let clean = |c: &String| super::plain::clean(c);
        report.commands.iter().for_each(|c| line(out, format_args!("    {}", clean(c))));
    }
}

fn costs(report: &Report, out: &mut String) {
    let rows = cost::rows(report);
    if rows.is_empty() {
        return;
    }
    line(out, format_args!("\n## Cost\n\n{}", cost::note(report)));
    let mut heads = heads(&[("arm", false)]);
    heads.extend(cost::COLUMNS.map(|name| (name.to_owned(), true)));
    let rows = rows.into_iter().map(|row| {
        let what = markdown(&row.what);
        [what].into_iter().chain(row.cells).collect()
    });
    grid(out, &heads, &rows.collect::<Vec<Vec<String>>>());
}

fn timings(report: &Report, out: &mut String) {
    let Some(timings) = &report.timings else { return };
    let workers = timings.workers;
    line(out, format_args!("\n## Throughput\n\n{}, {workers} workers", duration(timings.seconds)));
    let rows: Vec<Vec<String>> = timings
        .stages
        .iter()
        .map(|s| {
            vec![
                markdown(&s.stage),
                count(s.rows, THIN_SPACE),
                duration(s.seconds),
                rate(s),
                percent(s.share, 1),
            ]
        })
        .collect();
    let names =
        [("stage", false), ("rows", true), ("work", true), ("rows/s", true), ("share", true)];
    grid(out, &heads(&names), &rows);
}
