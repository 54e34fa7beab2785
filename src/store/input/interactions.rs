//! Who did what, when: the shards a run starts from.

use super::Rows;
use super::column::{Flaw, Ints, KeyType, Keys, Numbers, is_key, is_number, is_time};
use super::source::{Batches, Column, Source, input, type_name};
use crate::error::Result;
use crate::types::{Fault, FaultKind, Interaction, Key, Origin, StageName};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::path::Path;

/// The columns of an interaction file.
#[derive(Clone, Debug, PartialEq)]
pub struct InteractionColumns {
    /// Integers or strings.
    pub user: String,
    /// Integers or strings.
    pub item: String,
    /// Integers, timestamps or dates. Without it, the order is that of the input.
    pub time: Option<String>,
    /// Any numbers. Without it, every weight is 1.
    pub weight: Option<String>,
}

/// An interaction file whose schema has been checked.
pub struct InteractionFile {
    source: Source,
    user: Column,
    item: Column,
    time: Option<Column>,
    weight: Option<Column>,
}

/// Opens an interaction file and checks its schema.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) for a file that is empty, not Parquet, truncated or
/// damaged, and for a column that is missing or of a wrong type.
pub fn open_interactions(path: &Path, columns: &InteractionColumns) -> Result<InteractionFile> {
    const KEY: &str = "an integer or a string";
    let mut source = Source::open(path)?;
    let user = source.column(&columns.user, KEY, is_key)?;
    let item = source.column(&columns.item, KEY, is_key)?;
    let mut optional = |name: &Option<String>, expected, accepts: fn(&_) -> bool| {
        name.as_ref().map(|name| source.column(name, expected, accepts)).transpose()
    };
    let time = optional(&columns.time, "an integer, a timestamp or a date", is_time)?;
    let weight = optional(&columns.weight, "a number", is_number)?;
    Ok(InteractionFile { source, user, item, time, weight })
}

/// Checks that two shards of one input mean the same: key types, and the unit of time.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) that names both files, the column and both types.
pub fn agree(a: &InteractionFile, b: &InteractionFile) -> Result<()> {
    let differ = |column: &Column, one: &str, other: &str| {
        Err(input(
            b.path(),
            format!(
                "column {:?} is {other} here and {one} in {}: write all shards with one type",
                column.name,
                a.path().display()
            ),
        ))
    };
    for (x, y) in [(&a.user, &b.user), (&a.item, &b.item)] {
        let (one, other) = (KeyType::of(&x.kind), KeyType::of(&y.kind));
        if one != other {
            return differ(y, &one.to_string(), &other.to_string());
        }
    }
    if let (Some(x), Some(y)) = (&a.time, &b.time) {
        // Integers of different widths have the same unit: the input's own.
        if x.kind != y.kind && !(x.kind.is_integer() && y.kind.is_integer()) {
            return differ(y, &type_name(&x.kind), &type_name(&y.kind));
        }
    }
    Ok(())
}

impl InteractionFile {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// What the user column holds.
    pub fn user_type(&self) -> KeyType {
        KeyType::of(&self.user.kind)
    }

    /// What the item column holds.
    pub fn item_type(&self) -> KeyType {
        KeyType::of(&self.item.kind)
    }

    /// How many row groups there are.
    pub fn row_groups(&self) -> usize {
        self.source.row_groups()
    }

    /// How many rows a row group has, by the file's footer.
    ///
    /// # Panics
    /// If there is no such row group.
    pub fn rows(&self, row_group: usize) -> u64 {
        self.source.rows(row_group)
    }

    /// Reads a row group in batches of some thousand rows.
    ///
    /// `shard` is the file's number in the plan; with the row's position in the file it becomes the
    /// origin of every row. Where there is no time column, `shard · 2³² + row` is the time: the
    /// order of the input.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) when the file cannot be opened. The batches give
    /// [`Error::Input`](crate::error::Error::Input) where it is damaged.
    pub fn batches(&self, row_group: usize, shard: u32) -> Result<InteractionBatches<'_>> {
        Ok(InteractionBatches { file: self, shard, batches: self.source.batches(row_group)? })
    }

    /// Appends a whole row group to `out`; see [`InteractionFile::batches`].
    ///
    /// # Errors
    /// Those of [`InteractionFile::batches`].
    pub fn read(&self, row_group: usize, shard: u32, out: &mut Rows<Interaction>) -> Result<()> {
        for batch in self.batches(row_group, shard)? {
            let mut batch = batch?;
            out.rows.append(&mut batch.rows);
            out.faults.append(&mut batch.faults);
        }
        Ok(())
    }

    fn decode(&self, batch: &RecordBatch) -> Result<Decoded<'_>, ArrowError> {
        let pick = |column| self.source.pick(batch, column);
        Ok(Decoded {
            file: self,
            users: Keys::of(pick(&self.user))?,
            items: Keys::of(pick(&self.item))?,
            times: self.time.as_ref().map(|c| Ints::of(pick(c))).transpose()?,
            weights: self.weight.as_ref().map(|c| Numbers::of(pick(c))).transpose()?,
        })
    }
}

/// The batches of a row group.
pub struct InteractionBatches<'a> {
    file: &'a InteractionFile,
    shard: u32,
    batches: Batches,
}

impl Iterator for InteractionBatches<'_> {
    type Item = Result<Rows<Interaction>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (first, batch) = match self.batches.next()? {
            Ok(batch) => batch,
            Err(e) => return Some(Err(e)),
        };
        let decoded = match self.file.decode(&batch) {
            Ok(decoded) => decoded,
            Err(e) => return Some(Err(input(self.file.path(), e))),
        };
        let mut out = Rows { rows: Vec::with_capacity(batch.num_rows()), faults: Vec::new() };
        for row in 0..batch.num_rows() {
            let origin = Origin { shard: self.shard, row: first.saturating_add(row as u32) };
            match decoded.get(row, origin) {
                Ok(interaction) => out.rows.push(interaction),
                Err(kind) => out.faults.push(Fault { origin, stage: StageName::Read, kind }),
            }
        }
        Some(Ok(out))
    }
}

struct Decoded<'a> {
    file: &'a InteractionFile,
    users: Keys,
    items: Keys,
    times: Option<Ints>,
    weights: Option<Numbers>,
}

impl Decoded<'_> {
    fn get(&self, row: usize, origin: Origin) -> Result<Interaction, FaultKind> {
        let key = |keys: &Keys, column: &Column| -> Result<Key, FaultKind> {
            keys.get(row).map_err(|flaw| flaw.of(&column.name))
        };
        Ok(Interaction {
            origin,
            user: key(&self.users, &self.file.user)?,
            item: key(&self.items, &self.file.item)?,
            time: match (&self.times, &self.file.time) {
                (Some(times), Some(column)) => times.get(row).map_err(|f| f.of(&column.name))?,
                _ => i64::from(origin.shard) << 32 | i64::from(origin.row),
            },
            weight: match (&self.weights, &self.file.weight) {
                (Some(weights), Some(column)) => weight(weights.get(row), &column.name)?,
                _ => 1.0,
            },
        })
    }
}

/// A weight that f32 cannot hold is as good as infinite.
fn weight(value: Result<f64, Flaw>, column: &str) -> Result<f32, FaultKind> {
    value
        .map(|value| value as f32)
        .and_then(|value| if value.is_finite() { Ok(value) } else { Err(Flaw::NotFinite) })
        .map_err(|flaw| flaw.of(column))
}
