//! Which figures a report has: chooses metrics, arms and slices, and hands them to the plots.

use super::headline::{baseline, best_epoch, control, relevance, subject};
use super::model::Report;
use super::names::{Better, Group, Name};
use super::plot::{Role, arms, bars, curve, slices, tradeoff};
use super::table::{names, split, verdict};
use crate::metric::{ArmSummary, SliceSummary};
use serde::Serialize;

/// A drawing with its caption; the SVG is made here and escapes its own texts.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub caption: String,
    pub hint: &'static str,
    pub svg: String,
}

/// The slices by one dimension.
#[derive(Debug, Serialize)]
pub(super) struct SliceFigures {
    pub dimension: String,
    pub figures: Vec<Figure>,
}

/// Parts beyond these are in `metrics.parquet` alone.
const PARTS_MAX: usize = 16;

fn role(report: &Report, arm: &str) -> Role {
    match arm {
        _ if arm == report.summary.baseline => Role::Baseline,
        _ if subject(report).is_some_and(|s| s.arm == arm) => Role::Published,
        _ => Role::Other,
    }
}

fn hint(better: Better) -> &'static str {
    match better {
        Better::Higher => "→ better",
        Better::Lower => "← better",
        Better::Neither => "",
    }
}

fn caption(name: &Name) -> String {
    match name.group {
        Group::Oracle => format!("{}, oracle", name.label),
        _ => name.label.clone(),
    }
}

/// One figure a metric of the main tables, where arms can differ.
pub(super) fn arm_figures(report: &Report) -> Vec<Figure> {
    let names = names(report);
    let (main, _) = split(&names);
    let shown = main.into_iter().filter(|n| n.better != Better::Neither);
    shown.map(|name| arm_figure(report, name)).collect()
}

fn arm_figure(report: &Report, name: &Name) -> Figure {
    let point = |arm: &ArmSummary| {
        let difference = arm.versus_baseline.get(&name.full);
        Some(arms::Point {
            arm: arm.arm.clone(),
            value: *arm.metrics.get(&name.full)?,
            role: role(report, &arm.arm),
            mark: difference.map_or("", |d| verdict(d, name.better).mark()),
        })
    };
    let points: Vec<arms::Point> = report.summary.arms.iter().filter_map(point).collect();
    let caption = caption(name);
    Figure { svg: arms::plot(&caption, &points), caption, hint: hint(name.better) }
}

/// Control against accuracy, for the stated and the oracle controls that there are.
pub(super) fn tradeoff_figures(report: &Report) -> Vec<Figure> {
    let Some(up) = relevance(report) else { return Vec::new() };
    let names = names(report);
    let (main, _) = split(&names);
    main.into_iter()
        .filter(|n| n.is("cp"))
        .filter_map(|across| {
            let points: Vec<tradeoff::Point> = report
                .summary
                .arms
                .iter()
                .filter_map(|arm| {
                    Some(tradeoff::Point {
                        arm: arm.arm.clone(),
                        across: *arm.metrics.get(&across.full)?,
                        up: *arm.metrics.get(&up.full)?,
                        role: role(report, &arm.arm),
                    })
                })
                .collect();
            let caption = format!("{} against {}", up.label, caption(across));
            let svg = tradeoff::plot(&across.label, &up.label, &points);
            (points.len() > 1).then_some(Figure { caption, hint: "↗ better", svg })
        })
        .collect()
}

/// Accuracy and control over each division of the users, for the baseline and the report's arm.
pub(super) fn slice_figures(report: &Report) -> Vec<SliceFigures> {
    let Some(arm) = subject(report) else { return Vec::new() };
    let metrics: Vec<Name> = [relevance(report), control(report)].into_iter().flatten().collect();
    let mut dimensions: Vec<&str> = Vec::new();
    for slice in &arm.slices {
        if !dimensions.contains(&slice.dimension.as_str()) {
            dimensions.push(&slice.dimension);
        }
    }
    dimensions
        .into_iter()
        .map(|dimension| SliceFigures {
            dimension: dimension.into(),
            figures: metrics
                .iter()
                .filter_map(|m| slice_figure(report, arm, dimension, m))
                .collect(),
        })
        .filter(|s| !s.figures.is_empty())
        .collect()
}

fn slice_figure(report: &Report, arm: &ArmSummary, dimension: &str, name: &Name) -> Option<Figure> {
    let mut shown: Vec<&ArmSummary> = baseline(report).into_iter().collect();
    if shown.iter().all(|b| b.arm != arm.arm) {
        shown.push(arm);
    }
    let value = |of: &ArmSummary, part: &SliceSummary| {
        let same = |s: &&SliceSummary| s.dimension == part.dimension && s.label == part.label;
        let estimate = of.slices.iter().find(same)?.metrics.get(&name.full)?;
        Some((role(report, &of.arm), of.arm.clone(), *estimate))
    };
    let parts: Vec<slices::Part> = arm
        .slices
        .iter()
        .filter(|s| s.dimension == dimension && s.metrics.contains_key(&name.full))
        .take(PARTS_MAX)
        .map(|part| slices::Part {
            label: part.label.clone(),
            users: part.users,
            values: shown.iter().filter_map(|of| value(of, part)).collect(),
        })
        .collect();
    let caption = caption(name);
    let svg = slices::plot(&format!("{caption} by {dimension}"), &parts);
    (!parts.is_empty()).then_some(Figure { caption, hint: hint(name.better), svg })
}

/// The time of each stage.
pub(super) fn stage_figure(report: &Report) -> Option<Figure> {
    let timings = report.timings.as_ref().filter(|t| !t.stages.is_empty())?;
    Some(Figure {
        caption: "Share of all work".into(),
        hint: "",
        svg: bars::plot("Share of all work by stage", &timings.stages),
    })
}

/// Loss and validation NDCG over the passes.
pub(super) fn training_figures(report: &Report) -> Vec<Figure> {
    let loss: Vec<_> = report.training.iter().filter_map(|p| Some((p.epoch, p.loss?))).collect();
    let ndcg: Vec<_> =
        report.training.iter().filter_map(|p| Some((p.epoch, p.validation_ndcg?))).collect();
    let best = best_epoch(report).map(|b| b.0);
    let figure = |caption: &str, hint, points: &[(u32, f64)], best| {
        let svg = curve::plot(caption, points, best);
        (!points.is_empty()).then(|| Figure { caption: caption.into(), hint, svg })
    };
    [
        figure("Training loss", "↓ better", &loss, None),
        figure(&format!("Validation {}", report.validated_by()), "↑ better", &ndcg, best),
    ]
    .into_iter()
    .flatten()
    .collect()
}
