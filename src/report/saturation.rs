//! Whether more controls still steer: control precision by how many are asked for, beside how alike
//! the control tokens of the arm's model are. Shared by HTML and Markdown.

use super::headline::control_of;
use super::model::{ArmCosine, Report, SweepPoint};
use super::numbers::{NOTHING, fixed};
use super::table::names_of;
use serde::Serialize;

/// What the cosine is, wherever it is shown.
pub(super) const NOTE: &str = "The cosine is the mean over pairs of control tokens of the cosine \
    of their embeddings, as trained: near 1 the model can hardly tell wishes apart, and asking for \
    more adds little.";

/// The table.
#[derive(Debug, Serialize)]
pub(super) struct Saturation {
    pub note: String,
    /// The columns after the first.
    pub columns: Vec<String>,
    /// What, and its cells.
    pub rows: Vec<(String, Vec<String>)>,
}

/// A line for each number of candidates, threshold and name of arms, a column for each number of
/// controls. Without a sweep over controls the cosines alone; none without these either.
pub(super) fn saturation(report: &Report) -> Option<Saturation> {
    let points = report.sweep.as_ref().map_or(&[][..], |sweep| &sweep.points);
    let mut counts: Vec<u64> = points.iter().filter_map(|point| point.controls).collect();
    counts.sort_unstable();
    counts.dedup();
    if counts.len() < 2 {
        return cosines(report);
    }
    let label = points.iter().find_map(|point| control_of(&names_of(&point.summary)))?.label;
    let mut columns = vec!["cosine".to_owned()];
    columns.extend(counts.iter().map(|count| match count {
        1 => "1 control".to_owned(),
        _ => format!("{count} controls"),
    }));
    let mut settings: Vec<(u64, Option<u64>)> = points.iter().map(|p| (p.k, p.theta)).collect();
    settings.sort_unstable();
    settings.dedup();
    let mut rows = Vec::new();
    for (k, theta) in settings {
        let theta_label = theta.map_or("all".to_owned(), |theta| theta.to_string());
        for (family, arm) in middles(report) {
            let value = |count: &u64| {
                let here = |p: &&SweepPoint| (p.k, p.theta, p.controls) == (k, theta, Some(*count));
                points.iter().find(here).map_or(f64::NAN, |point| precision(point, arm))
            };
            let mut cells = vec![cosine(report, family)];
            cells.extend(counts.iter().map(|count| fixed(value(count), 4)));
            rows.push((format!("K = {k}, θ = {theta_label}: {arm}"), cells));
        }
    }
    let note = format!("{label} by how many controls are asked for. {NOTE}");
    Some(Saturation { note, columns, rows })
}

fn cosines(report: &Report) -> Option<Saturation> {
    let row = |of: &ArmCosine| (of.arm.clone(), vec![fixed(of.cosine, 4)]);
    let rows: Vec<_> = report.cosines.iter().map(row).collect();
    let columns = vec!["cosine".to_owned()];
    (!rows.is_empty()).then(|| Saturation { note: NOTE.to_owned(), columns, rows })
}

fn cosine(report: &Report, family: &str) -> String {
    let found = report.cosines.iter().find(|of| of.arm == family);
    found.map_or(NOTHING.to_owned(), |of| fixed(of.cosine, 4))
}

/// CP of an arm at a point; NaN if it has none.
fn precision(point: &SweepPoint, arm: &str) -> f64 {
    let name = control_of(&names_of(&point.summary));
    let of_arm = point.summary.arms.iter().find(|found| found.arm == arm);
    let value = of_arm.zip(name).and_then(|(found, name)| found.metrics.get(&name.full));
    value.map_or(f64::NAN, |value| value.mean)
}

/// Of each name of arms the one with the weight in the middle.
fn middles(report: &Report) -> Vec<(&str, &str)> {
    let arms = report.sweep.as_ref().map_or(&[][..], |sweep| &sweep.arms);
    let families = arms.chunk_by(|a, b| a.family == b.family);
    families.map(|of| (of[0].family.as_str(), of[of.len() / 2].name.as_str())).collect()
}
