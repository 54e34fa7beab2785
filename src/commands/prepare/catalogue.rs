//! The end of a `prepare` job: the catalogue, and the users' segments.

use super::{Facts, Opened};
use crate::commands::runs::unfinished;
use crate::error::{Error, Result};
use crate::flow::commit::put_with_faults;
use crate::spec::{AttributeSpec, PrepareSpec};
use crate::store::input::{BinRule, Table, bin};
use crate::store::{Commit, exposure_key, part, part_key};
use crate::types::{Attribute, Catalogue, Epoch, Fault, Key};
use std::collections::HashMap;

/// The users' segments.
pub struct Segments {
    /// Their names and labels.
    pub attributes: Vec<Attribute>,
    /// Each known user's codes.
    pub of_user: HashMap<Key, Vec<u32>>,
}

impl Segments {
    /// Out of the user table.
    pub fn of(spec: &PrepareSpec, table: Option<&Table>) -> Result<Segments> {
        let (Some(users), Some(table)) = (&spec.users, table) else {
            return Ok(Segments { attributes: Vec::new(), of_user: HashMap::new() });
        };
        let columns = users.attributes.iter().zip(&table.columns);
        let attributes = columns.map(|(a, column)| bin(&a.name, &column.values, &rule(a)));
        let attributes = attributes.collect::<Result<Vec<Attribute>>>()?;
        let codes = |row: usize| {
            let first = |a: &Attribute| a.codes(row as u32).first().copied().unwrap_or(u32::MAX);
            attributes.iter().map(first).collect::<Vec<u32>>()
        };
        let rows = table.keys.iter().enumerate();
        let of_user = rows.map(|(row, key)| (key.clone(), codes(row))).collect();
        Ok(Segments { attributes, of_user })
    }
}

fn rule(attribute: &AttributeSpec) -> BinRule {
    match (&attribute.edges, attribute.quantiles) {
        (Some(edges), _) => BinRule::Edges(edges.clone()),
        (None, Some(bins)) => BinRule::Quantiles(bins),
        (None, None) => BinRule::Categorical { labels_max: None },
    }
}

/// Writes the catalogue: the core's items with their titles, attributes and popularity. A fold over
/// the commits of the passes, so it may be done again.
pub fn finish(spec: &PrepareSpec, opened: &Opened, epoch: Epoch) -> Result<()> {
    let run = &opened.run;
    let commits = run.commits()?;
    let keys = opened.keys(&commits)?;
    let mut popularity = vec![0; keys.len()];
    let (first, mut users) = (opened.plans[2].epochs[0].0, 0);
    // The catalogue's own commit is there when another process was faster.
    for (at, commit) in commits.range(first..epoch) {
        users += commit.rows_written;
        let part = commit.part(&exposure_key(*at)).ok_or_else(|| unfinished(run))?;
        let path = run.path(&part.key).display().to_string();
        for row in part::exposure::decode(&path, run.get_part(part)?)? {
            popularity[row.item as usize] += row.count as u32;
        }
    }
    let mut faults = Vec::new();
    let catalogue = catalogue(spec, opened, keys, popularity, &mut faults)?;
    let segments = Segments::of(spec, opened.inputs.users.as_ref())?.attributes;
    let scattered = commits.range(..opened.plans[0].end()).map(|(_, commit)| commit);
    let facts = Facts {
        users,
        items: catalogue.len() as u64,
        rows_read: scattered.clone().map(|commit| commit.rows_read).sum(),
        rows_faulted: scattered.map(|c| c.rows_faulted).sum::<u64>() + faults.len() as u64,
        segments: segments.into_iter().map(|a| (a.name, a.labels)).collect(),
    };
    let bytes = part::catalogue::encode(&catalogue)?;
    let part = run.put_part(part_key(epoch, 0), facts.items, bytes.into())?;
    let payload = serde_json::to_value(&facts).map_err(|e| Error::Incomplete(e.to_string()))?;
    let commit = Commit { epoch, parts: vec![part], payload, ..Commit::default() };
    put_with_faults(run, commit, faults, &opened.inputs.tables)
}

/// Attributes of the core's items, out of the item table; what was wrong with its rows goes to the
/// dead-letter file of the last epoch.
fn catalogue(
    spec: &PrepareSpec,
    opened: &Opened,
    keys: Vec<Key>,
    popularity: Vec<u32>,
    faults: &mut Vec<Fault>,
) -> Result<Catalogue> {
    faults.extend(opened.inputs.users.iter().flat_map(|table| table.faults.clone()));
    let (Some(items), Some(table)) = (&spec.items, &opened.inputs.items) else {
        let titles = vec![Box::default(); keys.len()];
        return Ok(Catalogue { keys, titles, popularity, ..Catalogue::default() });
    };
    faults.extend(table.faults.clone());
    let row_of: HashMap<&Key, u32> =
        table.keys.iter().enumerate().map(|(row, key)| (key, row as u32)).collect();
    let rows: Vec<Option<u32>> = keys.iter().map(|key| row_of.get(key).copied()).collect();
    let mut texts = table.texts.iter().map(|texts| {
        let text = |row: &Option<u32>| row.map_or(Box::default(), |r| texts[r as usize].clone());
        rows.iter().map(text).collect()
    });
    // The table's columns of texts are those that the job names, in this order.
    let mut named = |column: &Option<String>| column.as_ref().and_then(|_| texts.next());
    let titles = named(&items.title).unwrap_or_else(|| vec![Box::default(); keys.len()]);
    let descriptions = named(&items.description).unwrap_or_default();
    let columns = items.attributes.iter().zip(&table.columns);
    let attributes =
        columns.map(|(a, column)| bin(&a.name, &column.values.select(&rows), &rule(a)));
    let attributes = attributes.collect::<Result<Vec<Attribute>>>()?;
    Ok(Catalogue { keys, titles, descriptions, popularity, attributes })
}
