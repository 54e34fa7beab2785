//! Results that are no lists of arms, such as what an encoder learned: tables of their own, with a
//! drawing where there is something to compare.

use super::figures::Figure;
use super::model::{Report, Sheet};
use super::plot::{Role, slices, traffic};
use serde::Serialize;

/// A sheet as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    pub sheet: &'a Sheet,
    pub figure: Option<Figure>,
    /// What the dots of the drawing are.
    pub keys: Vec<(&'static str, String)>,
}

/// Every sheet of a report.
pub(super) fn sheets(report: &Report) -> Vec<Shown<'_>> {
    report.sheets.iter().map(shown).collect()
}

const ROLES: [Role; 3] = [Role::Published, Role::Baseline, Role::Other];

fn shown(sheet: &Sheet) -> Shown<'_> {
    let parts: Vec<slices::Part> = sheet
        .bars
        .iter()
        .map(|bar| slices::Part {
            label: bar.label.clone(),
            users: bar.count,
            values: ROLES
                .into_iter()
                .zip(&sheet.series)
                .zip(&bar.values)
                .map(|((role, name), value)| (role, name.clone(), *value))
                .collect(),
        })
        .collect();
    let caption = sheet.caption.clone();
    let figure = match &sheet.traffic {
        Some(traffic) => {
            Some(Figure { caption, hint: "", svg: traffic::plot(&sheet.title, traffic) })
        }
        None if parts.is_empty() => None,
        None => {
            let svg = slices::plot(&sheet.title, &parts);
            Some(Figure { caption, hint: "→ better", svg })
        }
    };
    Shown {
        sheet,
        figure,
        keys: ["pub", "base", "other"].into_iter().zip(sheet.series.iter().cloned()).collect(),
    }
}
