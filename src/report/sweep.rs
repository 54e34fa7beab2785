//! A sweep as people read it: for each number of candidates one drawing of control against accuracy
//! a point, and COREC's table. Shared by HTML and Markdown.

use super::diagnosis::arm_of;
use super::figures::{Figure, SliceFigures};
use super::headline::{control_of, pick, relevance_of};
use super::model::{Report, Sweep, SweepPoint};
use super::names::{Group, Name};
use super::plot::{Role, curves, slices};
use super::table::{Table, grid, names_of};
use crate::metric::{ArmSummary, SliceSummary, Summary};
use serde::Serialize;

/// The metrics of a point: those of the paper's table, and what they are read against.
const FAMILIES: [&str; 13] = [
    "alpha-ndcg-attribute",
    "mad",
    "ndcg",
    "hit",
    "cp",
    "cd",
    "ncp",
    "random-cp",
    "ceiling-cp",
    "empty-pool",
    "unmet-control",
    "target-unmet",
    "retrieval-ceiling",
];

/// How well requests in own words are answered, all categories together.
const ANSWERED: &str = "satisfaction@";

/// The points with one number of candidates.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub title: String,
    pub curves: Vec<Figure>,
    pub tables: Vec<Table>,
}

impl SweepPoint {
    /// A point, with the metrics that a sweep is about.
    pub fn new(k: u64, controls: Option<u64>, theta: Option<u64>, mut summary: Summary) -> Self {
        let kept = |name: &String| {
            let name = Name::parse(name);
            FAMILIES.iter().any(|family| name.is(family)) || name.full.starts_with(ANSWERED)
        };
        for arm in &mut summary.arms {
            arm.metrics.retain(|name, _| kept(name));
            arm.versus_baseline.retain(|name, _| kept(name));
        }
        let names = names_of(&summary);
        let depth = pick(&names, &[Group::Stated, Group::Oracle], &["cd"], 0);
        let few = [relevance_of(&names), control_of(&names), depth];
        for slice in summary.arms.iter_mut().flat_map(|arm| &mut arm.slices) {
            slice.metrics.retain(|full, _| few.iter().flatten().any(|name| name.full == *full));
        }
        SweepPoint { k, controls, theta, summary, ..SweepPoint::default() }
    }

    /// `2 controls`.
    pub(super) fn asked(&self) -> String {
        match self.controls {
            None => "all controls".to_owned(),
            Some(1) => "1 control".to_owned(),
            Some(count) => format!("{count} controls"),
        }
    }

    /// `2 controls, θ = 1`.
    pub(super) fn label(&self) -> String {
        let controls = self.asked();
        let theta = self.theta.map_or("all".to_owned(), |theta| theta.to_string());
        format!("{controls}, θ = {theta}")
    }

    /// `k=10 controls=2 theta=1`, for programs.
    pub(super) fn key(&self) -> String {
        let or_all = |value: Option<u64>| value.map_or("all".to_owned(), |v| v.to_string());
        format!("k={} controls={} theta={}", self.k, or_all(self.controls), or_all(self.theta))
    }
}

/// How many points and arms there are, and how many differences.
pub(super) fn extent(sweep: &Sweep) -> String {
    let (points, arms) = (sweep.points.len(), sweep.arms.len());
    let many = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    format!("{}, {} each", many(points, "point"), many(arms, "arm"))
}

/// The points, by their number of candidates.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    let Some(sweep) = &report.sweep else { return Vec::new() };
    let alike = |a: &SweepPoint, b: &SweepPoint| a.k == b.k;
    sweep.points.chunk_by(alike).map(|points| section(report, sweep, points)).collect()
}

fn section(report: &Report, sweep: &Sweep, points: &[SweepPoint]) -> Section {
    let published = report.published.as_deref();
    let table = |point: &SweepPoint| {
        let names = columns(&point.summary);
        let names: Vec<&Name> = names.iter().collect();
        let mut table = grid(&point.summary, published, &names, (point.label(), ""));
        // Six metrics fit a page without the values' own intervals; `metrics.parquet` has them.
        let cells = table.rows.iter_mut().flat_map(|row| &mut row.cells);
        cells.for_each(|cell| cell.interval.clear());
        table
    };
    Section {
        title: format!("K = {}", points.first().map_or(0, |point| point.k)),
        curves: curve_figures(report, sweep, points),
        tables: points.iter().map(table).collect(),
    }
}

/// COREC's: NDCG and HR where lists are read to, CP at the first places, CD.
fn columns(summary: &Summary) -> Vec<Name> {
    let names = names_of(summary);
    let control =
        |family: &str, cutoff| pick(&names, &[Group::Stated, Group::Oracle], &[family], cutoff);
    let chosen = [
        relevance_of(&names),
        pick(&names, &[Group::Accuracy], &["hit"], 10),
        control("cp", 1),
        control("cp", 3),
        control("cp", 5),
        control("cd", 0),
        answered(&names),
        pick(&names, &[Group::Diversity], &["alpha-ndcg-attribute"], 10),
        names.iter().find(|name| name.full == "mad-user").cloned(),
    ];
    let mut columns: Vec<Name> = Vec::new();
    for name in chosen.into_iter().flatten() {
        if columns.iter().all(|other| other.full != name.full) {
            columns.push(name);
        }
    }
    columns
}

/// The metric of requests in own words.
fn answered(names: &[Name]) -> Option<Name> {
    pick(names, &[Group::Request], &["satisfaction"], 10)
}

/// The last point, which asks for most, by how far the controls agree with the history: the
/// baseline, and the report's arm.
pub(super) fn agreement(report: &Report) -> Option<SliceFigures> {
    let point = report.sweep.as_ref()?.points.last()?;
    let (arm, base) = (arm_of(report, &point.summary)?, point.summary.arms.first()?);
    let names = names_of(&point.summary);
    let metrics = [relevance_of(&names), control_of(&names)];
    let figure = |name: &Name| {
        let value = |of: &ArmSummary, role: Role, at: usize| {
            Some((role, of.arm.clone(), *of.slices.get(at)?.metrics.get(&name.full)?))
        };
        let part = |(at, slice): (usize, &SliceSummary)| slices::Part {
            label: slice.label.clone(),
            users: slice.users,
            values: [value(base, Role::Baseline, at), value(arm, Role::Published, at)]
                .into_iter()
                .flatten()
                .collect(),
        };
        let parts: Vec<slices::Part> = arm.slices.iter().enumerate().map(part).collect();
        let caption = name.label.clone();
        let svg = slices::plot(&format!("{caption} by agreement with the history"), &parts);
        Figure { caption, hint: "→ better", svg }
    };
    let figures: Vec<Figure> = metrics.iter().flatten().map(figure).collect();
    let (k, label, arm) = (point.k, point.label(), &arm.arm);
    let dimension =
        format!("K = {k}, {label}, by how much of the history meets the controls: {arm}");
    (!figures.is_empty() && !base.slices.is_empty()).then_some(SliceFigures { dimension, figures })
}

/// Control against accuracy: a drawing a point, all with the same axes.
fn curve_figures(report: &Report, sweep: &Sweep, points: &[SweepPoint]) -> Vec<Figure> {
    let names = points.first().map_or_else(Vec::new, |point| names_of(&point.summary));
    let across = answered(&names).or_else(|| control_of(&names));
    let (Some(across), Some(up)) = (across, relevance_of(&names)) else { return Vec::new() };
    let drawn: Vec<Vec<curves::Curve>> =
        points.iter().map(|point| of_point(report, sweep, point, (&across, &up))).collect();
    let frame = curves::Frame::over(drawn.iter().flatten());
    let figure = |(point, drawn): (&SweepPoint, &Vec<curves::Curve>)| Figure {
        caption: point.label(),
        hint: "↗ better",
        svg: curves::plot((&across.label, &up.label), drawn, &frame),
    };
    points.iter().zip(&drawn).map(figure).collect()
}

/// A curve for each family of arms.
fn of_point(
    report: &Report,
    sweep: &Sweep,
    point: &SweepPoint,
    (across, up): (&Name, &Name),
) -> Vec<curves::Curve> {
    let mut drawn: Vec<curves::Curve> = Vec::new();
    for arm in &sweep.arms {
        let named = |summary: &&ArmSummary| summary.arm == arm.name;
        let Some(found) = point.summary.arms.iter().find(named) else { continue };
        let (Some(x), Some(y)) = (found.metrics.get(&across.full), found.metrics.get(&up.full))
        else {
            continue;
        };
        let mark = curves::Mark { weight: arm.weight, across: *x, up: *y };
        match drawn.last_mut().filter(|curve| curve.family == arm.family) {
            Some(curve) => curve.marks.push(mark),
            None => {
                let role = match &arm.family {
                    _ if arm.name == point.summary.baseline => Role::Baseline,
                    family if report.published.as_ref() == Some(family) => Role::Published,
                    _ => Role::Other,
                };
                drawn.push(curves::Curve { family: arm.family.clone(), role, marks: vec![mark] });
            }
        }
    }
    drawn
}
