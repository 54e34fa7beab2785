//! What users asked for, and what must not be recommended: small tables, read whole.

use super::Rows;
use super::column::{Flaw, Ints, Keys, Texts, is_key, is_label, is_time};
use super::source::{Column, Source, input};
use crate::error::Result;
use crate::types::{Asked, Fault, FaultKind, Key, Origin, Relation, StageName};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::path::PathBuf;

/// The columns of a table of controls.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlColumns {
    /// Who asked: an integer or a string.
    pub user: String,
    /// The attribute's name.
    pub attribute: String,
    /// `is`, `not`, `at-most` or `at-least`.
    pub relation: String,
    /// A label (several are separated by `|`) or a number.
    pub value: String,
    /// When it was asked; the unit is the input's own.
    pub time: Option<String>,
}

/// One row of a table of controls.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlRow {
    /// Where it was read.
    pub origin: Origin,
    /// Who asked.
    pub user: Key,
    /// When; `None` where there is no such column or no value.
    pub time: Option<i64>,
    /// What for.
    pub asked: Asked,
}

/// The columns of an exclusion list.
#[derive(Clone, Debug, PartialEq)]
pub struct ExclusionColumns {
    /// What must not be recommended.
    pub item: String,
    /// To whom; without the column, to nobody.
    pub user: Option<String>,
}

/// One row of an exclusion list.
#[derive(Clone, Debug, PartialEq)]
pub struct ExclusionRow {
    /// Where it was read.
    pub origin: Origin,
    /// What must not be recommended.
    pub item: Key,
    /// To whom; `None` stands for everybody (no such column, or no value).
    pub user: Option<Key>,
}

pub(super) const KEY: &str = "an integer or a string";

/// Reads what users asked for, in the order of the input.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) for files that cannot be read and columns that are
/// missing or of a wrong type.
pub fn read_controls(paths: &[PathBuf], columns: &ControlColumns) -> Result<Rows<ControlRow>> {
    read(paths, |source| {
        let text = "a string or a number";
        let user = source.column(&columns.user, KEY, is_key)?;
        let attribute = source.column(&columns.attribute, "a string", is_label)?;
        let relation = source.column(&columns.relation, "a string", is_label)?;
        let value = source.column(&columns.value, text, is_label)?;
        let time = match &columns.time {
            Some(name) => {
                Some(source.column(name, "an integer, a timestamp or a date", is_time)?)
            }
            None => None,
        };
        Ok(move |source: &Source, batch: &RecordBatch, first, out: &mut _| {
            let pick = |column| source.pick(batch, column);
            let users = Keys::of(pick(&user))?;
            let attributes = Texts::of(pick(&attribute))?;
            let relations = Texts::of(pick(&relation))?;
            let values = Texts::of(pick(&value))?;
            let times = time.as_ref().map(|time| Ints::of(pick(time))).transpose()?;
            each(batch, first, out, |row, origin| {
                let asked = Asked {
                    attribute: get(attributes.get(row), &attribute)?.to_owned(),
                    relation: get(relations.get(row).and_then(parse), &relation)?,
                    value: get(values.get(row), &value)?.to_owned(),
                };
                let time = match (&times, &time) {
                    (Some(times), Some(column)) => optional(times.get(row), column)?,
                    _ => None,
                };
                Ok(ControlRow { origin, user: get(users.get(row), &user)?, time, asked })
            });
            Ok(())
        })
    })
}

/// Reads what must not be recommended, in the order of the input.
///
/// # Errors
/// Those of [`read_controls`].
pub fn read_exclusions(
    paths: &[PathBuf],
    columns: &ExclusionColumns,
) -> Result<Rows<ExclusionRow>> {
    read(paths, |source| {
        let item = source.column(&columns.item, KEY, is_key)?;
        let user = match &columns.user {
            Some(name) => Some(source.column(name, KEY, is_key)?),
            None => None,
        };
        Ok(move |source: &Source, batch: &RecordBatch, first, out: &mut _| {
            let items = Keys::of(source.pick(batch, &item))?;
            let users = user.as_ref().map(|user| Keys::of(source.pick(batch, user))).transpose()?;
            each(batch, first, out, |row, origin| {
                let user = match (&users, &user) {
                    (Some(users), Some(column)) => optional(users.get(row), column)?,
                    _ => None,
                };
                Ok(ExclusionRow { origin, item: get(items.get(row), &item)?, user })
            });
            Ok(())
        })
    })
}

/// Reads every batch of every file with what `open` makes of the file's columns; a row's shard is
/// the file's position.
pub(super) fn read<T, D>(
    paths: &[PathBuf],
    open: impl Fn(&mut Source) -> Result<D>,
) -> Result<Rows<T>>
where
    D: Fn(&Source, &RecordBatch, Origin, &mut Rows<T>) -> Result<(), ArrowError>,
{
    let mut out = Rows::default();
    for (shard, path) in paths.iter().enumerate() {
        let mut source = Source::open(path)?;
        let decode = open(&mut source)?;
        for row_group in 0..source.row_groups() {
            for batch in source.batches(row_group)? {
                let (row, batch) = batch?;
                let first = Origin { shard: shard as u32, row };
                decode(&source, &batch, first, &mut out).map_err(|e| input(path, e))?;
            }
        }
    }
    Ok(out)
}

pub(super) fn each<T>(
    batch: &RecordBatch,
    first: Origin,
    out: &mut Rows<T>,
    get: impl Fn(usize, Origin) -> Result<T, FaultKind>,
) {
    for row in 0..batch.num_rows() {
        let origin = Origin { row: first.row.saturating_add(row as u32), ..first };
        match get(row, origin) {
            Ok(value) => out.rows.push(value),
            Err(kind) => out.faults.push(Fault { origin, stage: StageName::Read, kind }),
        }
    }
}

pub(super) fn get<T>(cell: Result<T, Flaw>, column: &Column) -> Result<T, FaultKind> {
    cell.map_err(|flaw| flaw.of(&column.name))
}

pub(super) fn optional<T>(cell: Result<T, Flaw>, column: &Column) -> Result<Option<T>, FaultKind> {
    match cell {
        Err(Flaw::Null) => Ok(None),
        cell => get(cell, column).map(Some),
    }
}

fn parse(relation: &str) -> Result<Relation, Flaw> {
    match relation.trim() {
        "is" => Ok(Relation::Is),
        "not" => Ok(Relation::Not),
        "at-most" => Ok(Relation::AtMost),
        "at-least" => Ok(Relation::AtLeast),
        _ => Err(Flaw::unreadable(relation)),
    }
}
