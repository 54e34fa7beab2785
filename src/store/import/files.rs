//! The Parquet files of an import, column by column. Each is written under another name and renamed
//! when it is whole.

use super::lines::{Refused, short};
use super::write::{Cell, CellType};
use crate::error::{Error, Result};
use crate::store::input::KeyType;
use arrow::array::{
    ArrayRef, Float32Builder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows gathered before they are encoded.
const BATCH_ROWS: usize = 8192;
/// Rows of a row group: the piece of work that one worker reads.
const GROUP_ROWS: usize = 1 << 17;

/// A key in the type that the import writes.
#[derive(Clone, Copy)]
pub(super) enum Parsed<'a> {
    Int(i64),
    Text(&'a str),
}

impl KeyType {
    pub(super) fn parse<'a>(self, text: &'a str, what: &str) -> Result<Parsed<'a>, Refused> {
        match (text.trim(), self) {
            ("", _) => Err(format!("the {what} is empty").into()),
            (text, KeyType::Text) => Ok(Parsed::Text(text)),
            (text, KeyType::Int) => text.parse().map(Parsed::Int).map_err(|_| {
                format!("expected an integer as {what}, found {}", short(text)).into()
            }),
        }
    }

    fn arrow(self) -> DataType {
        match self {
            KeyType::Int => DataType::Int64,
            KeyType::Text => DataType::Utf8,
        }
    }
}

/// A column of keys being gathered; one of the two stays empty.
struct KeyColumn {
    kind: KeyType,
    ints: Int64Builder,
    texts: StringBuilder,
}

impl KeyColumn {
    fn new(kind: KeyType) -> Self {
        KeyColumn { kind, ints: Int64Builder::new(), texts: StringBuilder::new() }
    }

    fn push(&mut self, key: Parsed<'_>) {
        match key {
            Parsed::Int(value) => self.ints.append_value(value),
            Parsed::Text(text) => self.texts.append_value(text),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self.kind {
            KeyType::Int => Arc::new(self.ints.finish()),
            KeyType::Text => Arc::new(self.texts.finish()),
        }
    }
}

pub(super) struct Part {
    out: Out,
    users: KeyColumn,
    items: KeyColumn,
    times: Int64Builder,
    weights: Float32Builder,
    pub rows: u64,
}

impl Part {
    pub fn create(path: PathBuf, keys: KeyType) -> Result<Part> {
        let fields = vec![
            Field::new("user", keys.arrow(), false),
            Field::new("item", keys.arrow(), false),
            Field::new("time", DataType::Int64, false),
            Field::new("weight", DataType::Float32, false),
        ];
        Ok(Part {
            out: Out::create(path, fields)?,
            users: KeyColumn::new(keys),
            items: KeyColumn::new(keys),
            times: Int64Builder::new(),
            weights: Float32Builder::new(),
            rows: 0,
        })
    }

    pub fn push(
        &mut self,
        user: Parsed<'_>,
        item: Parsed<'_>,
        time: i64,
        weight: f32,
    ) -> Result<()> {
        self.users.push(user);
        self.items.push(item);
        self.times.append_value(time);
        self.weights.append_value(weight);
        self.rows += 1;
        if self.rows.is_multiple_of(BATCH_ROWS as u64) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write(vec![
            self.users.finish(),
            self.items.finish(),
            Arc::new(self.times.finish()),
            Arc::new(self.weights.finish()),
        ])
    }

    pub fn finish(mut self) -> Result<PathBuf> {
        self.flush()?;
        self.out.finish()
    }
}

enum CellColumn {
    Text(StringBuilder),
    Number(Float64Builder),
    Texts(ListBuilder<StringBuilder>),
}

pub(super) struct TableOut {
    out: Out,
    pub columns: Vec<(String, CellType)>,
    keys: KeyColumn,
    cells: Vec<CellColumn>,
    rows: usize,
}

impl TableOut {
    pub fn create(
        path: PathBuf,
        key: &str,
        keys: KeyType,
        columns: Vec<(String, CellType)>,
    ) -> Result<TableOut> {
        let mut fields = vec![Field::new(key, keys.arrow(), false)];
        let mut cells = Vec::new();
        for (name, kind) in &columns {
            let (column, kind) = match kind {
                CellType::Text => (CellColumn::Text(StringBuilder::new()), DataType::Utf8),
                CellType::Number => (CellColumn::Number(Float64Builder::new()), DataType::Float64),
                CellType::Texts => (
                    CellColumn::Texts(ListBuilder::new(StringBuilder::new())),
                    DataType::new_list(DataType::Utf8, true),
                ),
            };
            fields.push(Field::new(name, kind, true));
            cells.push(column);
        }
        let keys = KeyColumn::new(keys);
        Ok(TableOut { out: Out::create(path, fields)?, columns, keys, cells, rows: 0 })
    }

    pub fn push(&mut self, key: Parsed<'_>, cells: Vec<Cell>) -> Result<()> {
        assert_eq!(cells.len(), self.cells.len(), "one cell for each column");
        self.keys.push(key);
        for (column, cell) in self.cells.iter_mut().zip(cells) {
            match (column, cell) {
                (CellColumn::Text(column), Cell::Text(text)) => column.append_option(text),
                (CellColumn::Number(column), Cell::Number(x)) => column.append_option(x),
                (CellColumn::Texts(column), Cell::Texts(texts)) => {
                    column.append_value(texts.into_iter().map(Some));
                }
                (_, cell) => panic!("{cell:?} is not of its column's type"),
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(BATCH_ROWS) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut arrays = vec![self.keys.finish()];
        arrays.extend(self.cells.iter_mut().map(|column| -> ArrayRef {
            match column {
                CellColumn::Text(column) => Arc::new(column.finish()),
                CellColumn::Number(column) => Arc::new(column.finish()),
                CellColumn::Texts(column) => Arc::new(column.finish()),
            }
        }));
        self.out.write(arrays)
    }

    pub fn finish(mut self) -> Result<PathBuf> {
        self.flush()?;
        self.out.finish()
    }
}

pub(super) struct Rejects {
    out: Out,
    files: StringBuilder,
    lines: Int64Builder,
    reasons: StringBuilder,
    rows: usize,
}

impl Rejects {
    pub fn create(path: PathBuf) -> Result<Rejects> {
        let fields = vec![
            Field::new("file", DataType::Utf8, false),
            Field::new("line", DataType::Int64, false),
            Field::new("reason", DataType::Utf8, false),
        ];
        Ok(Rejects {
            out: Out::create(path, fields)?,
            files: StringBuilder::new(),
            lines: Int64Builder::new(),
            reasons: StringBuilder::new(),
            rows: 0,
        })
    }

    pub fn push(&mut self, file: &str, line: u64, reason: &str) -> Result<()> {
        self.files.append_value(file);
        self.lines.append_value(line as i64);
        self.reasons.append_value(reason);
        self.rows += 1;
        if self.rows.is_multiple_of(BATCH_ROWS) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write(vec![
            Arc::new(self.files.finish()),
            Arc::new(self.lines.finish()),
            Arc::new(self.reasons.finish()),
        ])
    }

    pub fn finish(mut self) -> Result<PathBuf> {
        self.flush()?;
        self.out.finish()
    }
}

/// One Parquet file being written.
struct Out {
    path: PathBuf,
    made: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
}

impl Out {
    fn create(path: PathBuf, fields: Vec<Field>) -> Result<Out> {
        let made = path.with_extension("parquet.tmp");
        let file = File::create(&made).map_err(Error::io("create", &made))?;
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|e| unwritten(&path, &e))?;
        Ok(Out { path, made, schema, writer })
    }

    fn write(&mut self, arrays: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|e| unwritten(&self.path, &e))?;
        self.writer.write(&batch).map_err(|e| unwritten(&self.path, &e))
    }

    fn finish(self) -> Result<PathBuf> {
        self.writer.close().map_err(|e| unwritten(&self.path, &e))?;
        fs::rename(&self.made, &self.path).map_err(Error::io("rename", &self.path))?;
        Ok(self.path)
    }
}

fn unwritten(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Input(format!("{}: cannot be written: {why}", path.display()))
}
