//! What a `prepare` job reads: opened, and its schemas checked.

use super::super::demo_data;
use super::super::runs::names;
use crate::error::{Error, Result};
use crate::spec::{AttributeSpec, PrepareSpec};
use crate::store::Store;
use crate::store::input::{
    AttributeColumn, InteractionColumns, InteractionFile, Table, TableColumns, agree,
    open_interactions, read_table, resolve,
};
use crate::types::Key;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// The inputs of the job, opened and checked.
pub struct Inputs {
    /// All files, for their hashes.
    pub paths: Vec<PathBuf>,
    /// The files of the item table, then those of the user table.
    pub tables: Vec<String>,
    /// The interaction shards.
    pub files: Arc<Vec<InteractionFile>>,
    /// The item table.
    pub items: Option<Table>,
    /// The user table.
    pub users: Option<Table>,
}

impl Inputs {
    /// Opens and checks all of it.
    pub fn open(spec: &PrepareSpec, store: &Store) -> Result<Inputs> {
        let generated = spec.generate.as_ref().map(|g| demo_data::ensure(g, store));
        let generated = generated.transpose()?;
        let place = |paths: &[String], name: &str| match &generated {
            Some(folder) => resolve(&[folder.join(name).display().to_string()]),
            None => resolve(paths),
        };
        let events = &spec.interactions;
        let columns = match generated {
            Some(_) => demo_data::columns(),
            None => InteractionColumns {
                user: events.user.clone(),
                item: events.item.clone(),
                time: events.time.clone(),
                weight: events.weight.clone(),
            },
        };
        let mut paths = place(&events.paths, "interactions")?;
        let files = paths.iter().map(|path| open_interactions(path, &columns));
        let files = files.collect::<Result<Vec<_>>>()?;
        files.windows(2).try_for_each(|pair| agree(&pair[0], &pair[1]))?;
        let mut tables: Vec<String> = Vec::new();
        let mut table = |paths_of: &[String], name: &str, columns: TableColumns| {
            let found = place(paths_of, name)?;
            let mut table = read_table(&found, &columns)?;
            let first = tables.len() as u32;
            table.faults.iter_mut().for_each(|fault| fault.origin.shard += first);
            tables.extend(names(&found));
            paths.extend(found);
            Ok::<Table, Error>(table)
        };
        let items = spec.items.as_ref().map(|items| {
            let texts = items.title.iter().chain(&items.description).cloned().collect();
            let columns = columns_of(&items.item, texts, &items.attributes);
            table(&items.paths, "items.parquet", columns)
        });
        let items = items.transpose()?;
        let users = spec.users.as_ref().map(|users| {
            table(
                &users.paths,
                "users.parquet",
                columns_of(&users.user, Vec::new(), &users.attributes),
            )
        });
        let users = users.transpose()?;
        Ok(Inputs { paths, tables, files: Arc::new(files), items, users })
    }

    /// The keys of the item table, when there is one.
    pub fn known_items(&self) -> Option<HashSet<Key>> {
        self.items.as_ref().map(|table| table.keys.iter().cloned().collect())
    }
}

fn columns_of(key: &str, texts: Vec<String>, attributes: &[AttributeSpec]) -> TableColumns {
    let attributes = attributes.iter().map(|attribute| AttributeColumn {
        column: attribute.column().to_owned(),
        numeric: attribute.edges.is_some() || attribute.quantiles.is_some(),
        separator: attribute.separator.clone(),
    });
    TableColumns { key: key.to_owned(), texts, attributes: attributes.collect() }
}
