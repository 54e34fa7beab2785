//! The seeded demo data as files: for jobs with `[generate]`, and for `steerage demo-data`.

use crate::error::{Error, Result};
use crate::spec::GenerateSpec;
use crate::store::input::InteractionColumns;
use crate::store::tables::{Values, encode};
use crate::store::{RunDir, Store};
use crate::testing::dataset::{
    Dataset, DatasetSettings, DemoAsked, DemoInteraction, DemoItem, DemoUser,
};
use crate::types::Relation;
use std::fs;
use std::path::{Path, PathBuf};

/// Counts up when the same settings make other data, so that a folder of the older is not taken
/// for it.
const VERSION: u32 = 1;
/// Rows of a row group: few, so that a small demo has several pieces of work in each shard.
const GROUP_ROWS: usize = 4096;
const SHARDS: u32 = 8;

fn place(generate: &GenerateSpec, store: &Store) -> PathBuf {
    let GenerateSpec { seed, users, items, interactions_mean } = generate;
    let name = format!("data-v{VERSION}-seed{seed}-{users}x{items}x{interactions_mean}");
    store.root().join(name)
}

/// Whether [`ensure`] would find the data there.
pub fn is_there(generate: &GenerateSpec, store: &Store) -> bool {
    place(generate, store).is_dir()
}

/// The folder with the data of some settings, in the root of the runs; made if it is not there.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn ensure(generate: &GenerateSpec, store: &Store) -> Result<PathBuf> {
    let folder = place(generate, store);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Renamed when it is whole: a process that is killed leaves nothing that looks finished.
    let made = folder.with_extension(format!("{}.tmp", std::process::id()));
    write(generate, &made)?;
    match fs::rename(&made, &folder) {
        Ok(()) => Ok(folder),
        Err(_) if folder.is_dir() => {
            // Another process of the job was faster; its data is the same.
            fs::remove_dir_all(&made).map_err(Error::io("remove", &made))?;
            Ok(folder)
        }
        Err(e) => Err(Error::io("rename", made)(e)),
    }
}

/// The folder that a run with `[generate]` has read.
///
/// # Errors
/// [`Error::Input`] if the run reads files of its own; those of [`ensure`].
pub fn of_run(run: &RunDir, store: &Store) -> Result<PathBuf> {
    let generate = run.manifest().spec.get("generate").cloned().unwrap_or_default();
    let generate: Option<GenerateSpec> = serde_json::from_value(generate).unwrap_or_default();
    let generate = generate.ok_or_else(|| {
        let name = run.name();
        Error::Input(format!("\"generated:…\" needs a job with [generate], and {name} has none"))
    })?;
    ensure(&generate, store)
}

/// The columns of the interactions.
pub fn columns() -> InteractionColumns {
    InteractionColumns {
        user: "user".into(),
        item: "item".into(),
        time: Some("time".into()),
        weight: Some("rating".into()),
    }
}

/// Writes `interactions/part-000.parquet` …, `items.parquet`, `users.parquet` and
/// `controls.parquet` to a folder, which is made if need be.
///
/// # Errors
/// [`Error::Input`] if the sizes are too small to make data of; [`Error::Io`] if it cannot be
/// written.
pub fn write(generate: &GenerateSpec, to: &Path) -> Result<()> {
    let data = Dataset::new(&DatasetSettings {
        seed: generate.seed,
        users: generate.users,
        items: generate.items,
        interactions_mean: generate.interactions_mean,
        shards: SHARDS,
        ..DatasetSettings::default()
    })?;
    let shards = to.join("interactions");
    fs::create_dir_all(&shards).map_err(Error::io("create", &shards))?;
    for (shard, rows) in data.interactions.iter().enumerate() {
        put(&shards.join(format!("part-{shard:03}.parquet")), interactions(rows))?;
    }
    put(&to.join("items.parquet"), items(&data.items))?;
    put(&to.join("users.parquet"), users(&data.users))?;
    put(&to.join("controls.parquet"), controls(&data.asked))
}

fn put(path: &Path, columns: Vec<(&str, Values)>) -> Result<()> {
    fs::write(path, encode(columns, GROUP_ROWS)?).map_err(Error::io("write", path))
}

fn ints<T>(rows: &[T], get: impl Fn(&T) -> Option<i64>) -> Values {
    Values::Ints(rows.iter().map(get).collect())
}

fn numbers<T>(rows: &[T], get: impl Fn(&T) -> Option<f32>) -> Values {
    Values::Numbers(rows.iter().map(get).collect())
}

fn texts<'a, T>(rows: &'a [T], get: impl Fn(&'a T) -> Option<&'a str>) -> Values {
    Values::Texts(rows.iter().map(|row| get(row).map(str::to_owned)).collect())
}

fn interactions(rows: &[DemoInteraction]) -> Vec<(&'static str, Values)> {
    vec![
        ("user", ints(rows, |row| Some(row.user))),
        ("item", texts(rows, |row| row.item.as_deref())),
        ("time", ints(rows, |row| Some(row.time))),
        ("rating", numbers(rows, |row| Some(row.rating))),
    ]
}

fn items(rows: &[DemoItem]) -> Vec<(&'static str, Values)> {
    vec![
        ("item", texts(rows, |row| Some(&row.item))),
        ("title", texts(rows, |row| Some(&row.title))),
        ("brand", texts(rows, |row| row.brand.as_deref())),
        ("department", texts(rows, |row| Some(&row.department))),
        ("category", texts(rows, |row| Some(&row.category))),
        ("price", numbers(rows, |row| row.price)),
        ("sales_rank", ints(rows, |row| Some(i64::from(row.sales_rank)))),
        ("year", ints(rows, |row| Some(i64::from(row.year)))),
    ]
}

fn users(rows: &[DemoUser]) -> Vec<(&'static str, Values)> {
    vec![
        ("user", ints(rows, |row| Some(row.user))),
        ("segment", texts(rows, |row| Some(&row.segment))),
        ("age_group", texts(rows, |row| Some(&row.age_group))),
    ]
}

fn controls(rows: &[DemoAsked]) -> Vec<(&'static str, Values)> {
    vec![
        ("user", ints(rows, |row| Some(row.user))),
        ("time", ints(rows, |row| row.time)),
        ("attribute", texts(rows, |row| Some(&row.asked.attribute))),
        ("relation", texts(rows, |row| Some(relation(row.asked.relation)))),
        ("value", texts(rows, |row| Some(&row.asked.value))),
    ]
}

fn relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Is => "is",
        Relation::Not => "not",
        Relation::AtMost => "at-most",
        Relation::AtLeast => "at-least",
    }
}
