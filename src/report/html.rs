//! `report.html`: one file, no script, nothing fetched. Every text is escaped by construction and
//! cannot turn the line around it; only the drawings and the style sheet, made here, go in as they
//! are.

use super::cost::{self, CostRow};
use super::diagnosis::{findings, thresholds};
use super::figures::{
    Figure, SliceFigures, arm_figures, slice_figures, stage_figure, tradeoff_figures,
    training_figures,
};
use super::headline::{Claim, claims, subject, warnings};
use super::model::{Expectation, Report, StageTime, Upstream};
use super::names::{FAMILIES, Name};
use super::numbers::{
    NOTHING, THIN_SPACE, count, decimals, duration, fixed, percent, short, signed,
};
use super::plain::clean;
use super::saturation::{Saturation, saturation};
use super::sheet::{Shown, sheets};
use super::sweep::{Section, agreement, extent, sections};
use super::table::{Table, names, split, tables};
use crate::error::{Error, Result};
use crate::metric::Estimate;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, context, escape_formatter};
use serde::Serialize;

const TEMPLATE: &str = include_str!("report.html.jinja");
const STYLE: &str = include_str!("report.css");

#[derive(Serialize)]
struct Page<'a> {
    report: &'a Report,
    claims: Vec<Claim>,
    warnings: Vec<String>,
    facts: Vec<(&'static str, String)>,
    subject: Option<&'a str>,
    main: Vec<Table>,
    more: Vec<Table>,
    arms: Vec<Figure>,
    tradeoff: Vec<Figure>,
    slices: Vec<SliceFigures>,
    sweep: Vec<Section>,
    extent: Option<String>,
    agreement: Option<SliceFigures>,
    findings: Vec<String>,
    thresholds: String,
    saturation: Option<Saturation>,
    costs: Vec<CostRow>,
    cost_columns: [&'static str; 5],
    cost_note: String,
    training: Vec<Figure>,
    sheets: Vec<Shown<'a>>,
    time: Option<Time>,
    faults: Vec<FaultRow<'a>>,
    conflicts: String,
    expectations: Vec<ExpectationRow>,
    upstream: &'a [Upstream],
    glossary: Vec<Term>,
}

#[derive(Serialize)]
struct Time {
    figure: Figure,
    total: String,
    workers: u32,
    machine: String,
    /// Stage, rows, seconds, rows per second, share.
    rows: Vec<[String; 5]>,
}

#[derive(Serialize)]
struct FaultRow<'a> {
    stage: String,
    reason: &'a str,
    count: String,
    keys: &'a [String],
}

#[derive(Serialize)]
struct ExpectationRow {
    metric: String,
    arm: String,
    expected: String,
    found: String,
    off: String,
    met: bool,
}

#[derive(Serialize)]
struct Term {
    label: &'static str,
    formula: &'static str,
    meaning: &'static str,
}

/// The page.
///
/// # Errors
/// [`Error::Input`] if the template cannot be rendered, which is a bug of the template.
pub fn render_html(report: &Report) -> Result<String> {
    let names = names(report);
    let (main, others) = split(&names);
    let page = Page {
        report,
        claims: claims(report),
        warnings: warnings(report),
        facts: facts(report),
        subject: subject(report).map(|a| a.arm.as_str()),
        main: tables(report, &main),
        more: tables(report, &others),
        arms: arm_figures(report),
        tradeoff: tradeoff_figures(report),
        slices: slice_figures(report),
        sweep: sections(report),
        agreement: agreement(report),
        findings: findings(report),
        thresholds: thresholds(),
        extent: report.sweep.as_ref().map(extent),
        saturation: saturation(report),
        costs: cost::rows(report),
        cost_columns: cost::COLUMNS,
        cost_note: cost::note(report),
        training: training_figures(report),
        sheets: sheets(report),
        time: time(report),
        faults: faults(report),
        conflicts: count(report.conflicts, THIN_SPACE),
        expectations: report.expectations.iter().map(expectation).collect(),
        upstream: &report.upstream,
        glossary: glossary(&names),
    };
    let mut engine = Environment::new();
    let failed = |e: minijinja::Error| Error::Input(format!("report.html: {e:#}"));
    let trim = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    engine.set_syntax(trim.map_err(failed)?);
    engine.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => escape_formatter(out, state, &clean(text).into()),
        _ => escape_formatter(out, state, value),
    });
    engine.add_template("report.html", TEMPLATE).map_err(failed)?;
    let template = engine.get_template("report.html").map_err(failed)?;
    template.render(context! { page => Serde(page), style => STYLE }).map_err(failed)
}

/// How much there was, without what there was none of.
pub(super) fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let f = &report.facts;
    [
        ("users", f.users),
        ("items", f.items),
        ("interactions", f.interactions),
        ("epochs", f.epochs),
        ("rows read", f.rows_read),
        ("rows written", f.rows_written),
        ("faults", f.rows_faulted),
        ("conflicts", report.conflicts),
    ]
    .into_iter()
    .filter(|(name, n)| *n > 0 || matches!(*name, "faults" | "conflicts"))
    .map(|(name, n)| (name, count(n, THIN_SPACE)))
    .collect()
}

fn time(report: &Report) -> Option<Time> {
    let (figure, timings) = (stage_figure(report)?, report.timings.as_ref()?);
    let rows = timings.stages.iter().map(|s| {
        [
            s.stage.clone(),
            count(s.rows, THIN_SPACE),
            duration(s.seconds),
            rate(s),
            percent(s.share, 1),
        ]
    });
    Some(Time {
        figure,
        total: duration(timings.seconds),
        workers: timings.workers,
        machine: timings.machine.clone(),
        rows: rows.collect(),
    })
}

/// What is not a stage has no rows, and so no rate.
pub(super) fn rate(stage: &StageTime) -> String {
    if stage.rows > 0 { short(stage.rows_per_second) } else { NOTHING.into() }
}

fn faults(report: &Report) -> Vec<FaultRow<'_>> {
    report
        .faults
        .iter()
        .map(|f| FaultRow {
            stage: f.stage.to_string(),
            reason: &f.reason,
            count: count(f.count, THIN_SPACE),
            keys: &f.keys,
        })
        .collect()
}

fn expectation(e: &Expectation) -> ExpectationRow {
    let tolerance = Estimate {
        mean: e.expected,
        low: e.expected - e.tolerance,
        high: e.expected + e.tolerance,
        users: 0,
    };
    let digits = decimals([tolerance].iter());
    ExpectationRow {
        metric: Name::parse(&e.metric).label,
        arm: e.arm.clone(),
        expected: format!("{} ± {}", fixed(e.expected, digits), fixed(e.tolerance, digits)),
        found: fixed(e.found.unwrap_or(f64::NAN), digits),
        off: signed(e.found.unwrap_or(f64::NAN) - e.expected, digits),
        met: e.met,
    }
}

/// The families that the report shows.
fn glossary(names: &[Name]) -> Vec<Term> {
    FAMILIES
        .iter()
        .enumerate()
        .filter(|(at, _)| names.iter().any(|n| n.family == Some(*at)))
        .map(|(_, f)| Term { label: f.label, formula: f.formula, meaning: f.meaning })
        .collect()
}
