//! `steerage compare OLD NEW`: what changed between two nights.

use super::report::{reopen, report};
use crate::error::Result;
use crate::report::compare::{Gates, Listed, compare, list_changes, render_text, spec_changes};
use crate::store::{RunDir, Store, part};
use std::collections::BTreeMap;

/// The places of a list that are compared.
const K: usize = 10;

/// The comparison of two rerank runs as text, and whether anything moved by more than drift.
pub fn compare_runs(store: &Store, old: &RunDir, new: &RunDir) -> Result<(String, bool)> {
    let (before, after) = (report(store, old)?, report(store, new)?);
    let spec = spec_changes(&old.manifest().spec, &new.manifest().spec);
    let lists = match (reopen(store, old), reopen(store, new)) {
        (Ok(_), Ok(_)) => {
            list_changes(listed(old)?.into_iter().map(Ok), listed(new)?.into_iter().map(Ok), K)?
        }
        _ => Vec::new(), // runs without lists
    };
    let comparison = compare(&before, &after, spec, lists, &Gates::default());
    let alarmed = !comparison.alarms.is_empty();
    Ok((render_text(&comparison), alarmed))
}

/// All lists of a run, by user and arm.
fn listed(run: &RunDir) -> Result<Vec<Listed>> {
    let mut all = BTreeMap::new();
    for commit in run.commits()?.values() {
        for part in commit.parts.iter().filter(|part| part.key.starts_with("parts/")) {
            for row in part::lists::decode(&part.key, run.get_part(part)?)? {
                all.insert((row.user, row.arm), row.items);
            }
        }
    }
    Ok(all.into_iter().map(|((user, arm), items)| Listed { user, arm, items }).collect())
}
