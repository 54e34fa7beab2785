//! `steerage compare OLD NEW`: what changed between two nights.

use super::report::report;
use crate::error::{Error, Result};
use crate::report::compare::{Gates, Listed, compare, list_changes, render_text, spec_changes};
use crate::store::{RunDir, Store, part};
use std::collections::BTreeMap;

/// The places of a list that are compared.
const K: usize = 10;

/// A run, and the store that it is in.
type Placed<'a> = (&'a Store, &'a RunDir);

/// The comparison of two rerank runs as text, and whether anything moved by more than drift. They
/// may be in two stores.
///
/// Errors: a run of another kind, or one that cannot be read.
pub fn compare_runs(old: Placed, new: Placed) -> Result<(String, bool)> {
    for (_, run) in [old, new] {
        let (name, kind) = (run.name(), &run.manifest().kind);
        if kind != "rerank" {
            return Err(Error::Input(format!(
                "{name}: expected a rerank run, found one of kind {kind:?}: lists are compared, \
                 and it has none"
            )));
        }
    }
    let (before, after) = (report(old.0, old.1)?, report(new.0, new.1)?);
    let spec = spec_changes(&old.1.manifest().spec, &new.1.manifest().spec);
    let [gone, there] = [listed(old.1)?, listed(new.1)?].map(|lists| lists.into_iter().map(Ok));
    let lists = list_changes(gone, there, K)?;
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
