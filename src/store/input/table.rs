//! Item and user tables: a key, a title and attributes, column by column, read whole into memory.

use super::column::{Flaw, KeyType, Keys, Texts, is_key, is_label, is_number, is_text};
use super::source::{Column, Source, input};
use super::values::{Values, labels, number};
use crate::error::Result;
use crate::types::{Fault, FaultKind, Key, Origin, StageName};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Titles are cut to this many bytes, at a character: longer ones are junk, and each would be
/// carried into reports and prompts.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The columns of an item or user table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableColumns {
    /// Integers or strings; as in the interactions.
    pub key: String,
    /// Columns of strings: titles, descriptions.
    pub texts: Vec<String>,
    /// In the order of the job.
    pub attributes: Vec<AttributeColumn>,
}

/// How an attribute's column is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeColumn {
    /// Its name in the file.
    pub column: String,
    /// Read numbers: a number column, or the first number of a text (`$1,299.00`, `#1,234 in
    /// Toys`). Otherwise labels: strings, lists of strings, and anything else as text.
    pub numeric: bool,
    /// Splits a text into labels, such as `|`.
    pub separator: Option<String>,
}

/// A table, with one row for each distinct key in the order of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What the key column holds.
    pub key_type: KeyType,
    /// Distinct.
    pub keys: Vec<Key>,
    /// Of each column of texts, at most [`TEXT_BYTES_MAX`] bytes a row; empty where unknown.
    pub texts: Vec<Vec<Box<str>>>,
    /// As asked for.
    pub columns: Vec<RawColumn>,
    /// Rows without a key, or with one that was there before, are left out. A value that cannot be
    /// used (NaN, broken UTF-8, no number in the text) is unknown, and its row stays.
    pub faults: Vec<Fault>,
}

/// An attribute before it is binned.
#[derive(Clone, Debug, PartialEq)]
pub struct RawColumn {
    /// The column.
    pub name: String,
    /// One entry for each row of the table.
    pub values: RawValues,
}

/// What an attribute's column holds.
#[derive(Clone, Debug, PartialEq)]
pub enum RawValues {
    /// Row i has the labels `names[codes[offsets[i]..offsets[i + 1]]]`.
    Labels {
        /// Distinct, in the order in which they first appear.
        names: Vec<String>,
        /// Length: rows + 1.
        offsets: Vec<u32>,
        /// Positions in `names`.
        codes: Vec<u32>,
    },
    /// NaN where unknown; otherwise finite, as f32 too.
    Numbers(Vec<f64>),
}

/// Reads a table from its files, in their order; a fault's shard is the file's position among them.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) for a file that is empty, not Parquet, truncated or
/// damaged, for a column that is missing or of a wrong type, and for files whose key types differ.
pub fn read_table(paths: &[PathBuf], columns: &TableColumns) -> Result<Table> {
    let mut builder = Builder {
        table: Table {
            key_type: KeyType::Int,
            keys: Vec::new(),
            texts: vec![Vec::new(); columns.texts.len()],
            columns: columns.attributes.iter().map(RawColumn::empty).collect(),
            faults: Vec::new(),
        },
        seen: HashSet::new(),
        codes: vec![HashMap::new(); columns.attributes.len()],
    };
    for (shard, path) in paths.iter().enumerate() {
        let mut source = Source::open(path)?;
        let open = Open::new(&mut source, columns)?;
        let key_type = KeyType::of(&open.key.kind);
        if shard > 0 && key_type != builder.table.key_type {
            return Err(input(
                path,
                format!(
                    "column {:?} is {key_type} here and {} in {}: write all files with one type",
                    columns.key,
                    builder.table.key_type,
                    paths[0].display()
                ),
            ));
        }
        builder.table.key_type = key_type;
        for row_group in 0..source.row_groups() {
            for batch in source.batches(row_group)? {
                let (first, batch) = batch?;
                let cells = open.decode(&source, &batch).map_err(|e| input(path, e))?;
                for row in 0..batch.num_rows() {
                    let origin =
                        Origin { shard: shard as u32, row: first.saturating_add(row as u32) };
                    builder.push(&cells, &open, row, origin);
                }
            }
        }
    }
    Ok(builder.table)
}

impl RawColumn {
    fn empty(of: &AttributeColumn) -> RawColumn {
        let values = if of.numeric {
            RawValues::Numbers(Vec::new())
        } else {
            RawValues::Labels { names: Vec::new(), offsets: vec![0], codes: Vec::new() }
        };
        RawColumn { name: of.column.clone(), values }
    }
}

impl RawValues {
    /// The values of these rows, in this order; a row that is `None` is unknown.
    ///
    /// # Panics
    /// If a row is not in the table.
    pub fn select(&self, rows: &[Option<u32>]) -> RawValues {
        match self {
            RawValues::Numbers(numbers) => RawValues::Numbers(
                rows.iter().map(|row| row.map_or(f64::NAN, |row| numbers[row as usize])).collect(),
            ),
            RawValues::Labels { names, offsets, codes } => {
                let (mut starts, mut chosen) = (vec![0], Vec::new());
                for row in rows {
                    if let Some(row) = row.map(|row| row as usize) {
                        let range = offsets[row] as usize..offsets[row + 1] as usize;
                        chosen.extend_from_slice(&codes[range]);
                    }
                    starts.push(chosen.len() as u32);
                }
                RawValues::Labels { names: names.clone(), offsets: starts, codes: chosen }
            }
        }
    }
}

/// One file's checked columns.
struct Open<'a> {
    key: Column,
    texts: Vec<Column>,
    attributes: Vec<(Column, &'a AttributeColumn)>,
}

impl<'a> Open<'a> {
    fn new(source: &mut Source, columns: &'a TableColumns) -> Result<Open<'a>> {
        let key = source.column(&columns.key, "an integer or a string", is_key)?;
        let text = |kind: &DataType| is_text(kind) || *kind == DataType::Null;
        let texts = columns.texts.iter().map(|name| source.column(name, "a string", text));
        let texts = texts.collect::<Result<_>>()?;
        let mut attributes = Vec::new();
        for of in &columns.attributes {
            let column = if of.numeric {
                source.column(&of.column, "a number, or a string with a number in it", |kind| {
                    is_number(kind) || is_text(kind) || *kind == DataType::Null
                })
            } else {
                source.column(&of.column, "a string, a list of strings or a number", |kind| {
                    is_label(item_type(kind)) || *kind == DataType::Null
                })
            };
            attributes.push((column?, of));
        }
        Ok(Open { key, texts, attributes })
    }

    fn decode(&self, source: &Source, batch: &RecordBatch) -> Result<Cells, ArrowError> {
        let texts = self.texts.iter().map(|text| Texts::of(source.pick(batch, text)));
        let attributes = self
            .attributes
            .iter()
            .map(|(column, of)| Values::of(source.pick(batch, column), of.numeric));
        Ok(Cells {
            keys: Keys::of(source.pick(batch, &self.key))?,
            texts: texts.collect::<Result<_, _>>()?,
            attributes: attributes.collect::<Result<_, _>>()?,
        })
    }
}

fn item_type(kind: &DataType) -> &DataType {
    match kind {
        DataType::List(inner) => inner.data_type(),
        other => other,
    }
}

/// One batch's columns.
struct Cells {
    keys: Keys,
    texts: Vec<Texts>,
    attributes: Vec<Values>,
}

struct Builder {
    table: Table,
    seen: HashSet<Key>,
    /// The codes of each label column's names.
    codes: Vec<HashMap<Box<str>, u32>>,
}

impl Builder {
    fn push(&mut self, cells: &Cells, open: &Open<'_>, row: usize, origin: Origin) {
        let faults = &mut self.table.faults;
        let mut fault = |kind| faults.push(Fault { origin, stage: StageName::Read, kind });
        let key = match cells.keys.get(row) {
            Ok(key) => key,
            Err(flaw) => return fault(flaw.of(&open.key.name)),
        };
        if !self.seen.insert(key.clone()) {
            return fault(FaultKind::DuplicateKey { key });
        }
        self.table.keys.push(key);
        let texts = cells.texts.iter().zip(&open.texts);
        for (out, (texts, column)) in self.table.texts.iter_mut().zip(texts) {
            let text = known(texts.get(row), &column.name, &mut fault).unwrap_or("");
            out.push(capped(text).into());
        }
        let columns = self.table.columns.iter_mut().zip(&mut self.codes);
        for (((out, codes), values), (column, of)) in
            columns.zip(&cells.attributes).zip(&open.attributes)
        {
            let mut flawed = |flaw: Flaw| fault(flaw.of(&column.name));
            match &mut out.values {
                RawValues::Numbers(numbers) => {
                    numbers.push(number(values, row, &mut flawed));
                }
                RawValues::Labels { names, offsets, codes: out } => {
                    labels(values, row, of.separator.as_deref(), &mut flawed, &mut |label| {
                        let next = names.len() as u32;
                        let code = codes.get(label).copied().unwrap_or_else(|| {
                            names.push(label.to_owned());
                            codes.insert(label.into(), next);
                            next
                        });
                        out.push(code);
                    });
                    offsets.push(out.len() as u32);
                }
            }
        }
    }
}

/// A cell's value, if it has one; only a cell that is there and cannot be used is a fault.
fn known<T>(cell: Result<T, Flaw>, column: &str, fault: &mut impl FnMut(FaultKind)) -> Option<T> {
    match cell {
        Ok(value) => Some(value),
        Err(Flaw::Null) => None,
        Err(flaw) => {
            fault(flaw.of(column));
            None
        }
    }
}

fn capped(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::{TEXT_BYTES_MAX, capped};

    #[test]
    fn a_title_is_cut_at_a_character() {
        let title = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(capped(&title).len(), TEXT_BYTES_MAX);
        let shifted = format!("x{title}");
        assert_eq!(capped(&shifted).len(), TEXT_BYTES_MAX - 1);
    }
}
