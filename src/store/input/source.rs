//! One Parquet file: opened, its columns checked by name and type, read by row group in batches.

use crate::error::{Error, Result};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Rows of one batch: enough to amortise decoding, few enough that lists of items stay in the
/// cache.
const BATCH_ROWS: usize = 2048;

/// An open file and the columns that were asked of it.
pub(super) struct Source {
    pub path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Indices of the columns to read, ascending: the order in which batches hold them.
    chosen: Vec<usize>,
}

/// A checked column: its place in the file, its name and its type.
#[derive(Clone, Debug)]
pub(super) struct Column {
    at: usize,
    pub name: String,
    pub kind: DataType,
}

/// Whether a Parquet file has a column: for tables whose optional columns have fixed names.
///
/// # Errors
/// [`Error::Input`] for a file that is empty, not Parquet, truncated or damaged.
pub fn has_column(path: &Path, name: &str) -> Result<bool> {
    let source = Source::open(path)?;
    Ok(source.metadata.schema().fields().iter().any(|field| field.name() == name))
}

impl Source {
    pub fn open(path: &Path) -> Result<Source> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        check_magic(path, &mut file)?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = survive(|| ArrowReaderMetadata::load(&file, options)).map_err(|e| {
            input(path, format!("the Parquet footer cannot be read: {e}: write or copy it again"))
        })?;
        let rows: u64 =
            metadata.metadata().row_groups().iter().map(|g| g.num_rows().max(0) as u64).sum();
        if rows > u64::from(u32::MAX) {
            return Err(input(
                path,
                format!("{rows} rows: a shard holds at most {}: split it", u32::MAX),
            ));
        }
        Ok(Source { path: path.to_path_buf(), metadata, chosen: Vec::new() })
    }

    /// Finds a column, checks its type and puts it among those that are read.
    pub fn column(
        &mut self,
        name: &str,
        expected: &str,
        accepts: impl Fn(&DataType) -> bool,
    ) -> Result<Column> {
        let fields = self.metadata.schema().fields();
        let Some(at) = fields.iter().position(|field| field.name() == name) else {
            let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
            return Err(input(&self.path, missing(name, &names)));
        };
        let kind = fields[at].data_type().clone();
        if !accepts(&kind) {
            return Err(input(
                &self.path,
                format!("column {name:?}: expected {expected}, found {}", type_name(&kind)),
            ));
        }
        if let Err(place) = self.chosen.binary_search(&at) {
            self.chosen.insert(place, at);
        }
        Ok(Column { at, name: name.to_owned(), kind })
    }

    pub fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    pub fn rows(&self, row_group: usize) -> u64 {
        self.metadata.metadata().row_group(row_group).num_rows().max(0) as u64
    }

    /// The chosen columns of a row group, in batches.
    pub fn batches(&self, row_group: usize) -> Result<Batches> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let roots = self.chosen.iter().copied();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let build = || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![row_group])
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
        };
        let reader = survive(build).map_err(|e| damaged(&self.path, row_group, &e))?;
        let row = (0..row_group).map(|g| self.rows(g)).sum::<u64>() as u32;
        let end = u64::from(row) + self.rows(row_group);
        Ok(Batches { reader: Some(reader), path: self.path.clone(), row_group, row, end })
    }

    /// A column of a batch that [`Source::batches`] gave.
    pub fn pick<'a>(&self, batch: &'a RecordBatch, column: &Column) -> &'a ArrayRef {
        batch.column(self.chosen.partition_point(|&at| at < column.at))
    }
}

/// The batches of one row group, each with its first row's position in the file.
pub(super) struct Batches {
    /// None after an error: what it left of the reader is not read.
    reader: Option<ParquetRecordBatchReader>,
    path: PathBuf,
    row_group: usize,
    /// The next batch's first row.
    row: u32,
    /// The row after the group, by the footer.
    end: u64,
}

impl Iterator for Batches {
    type Item = Result<(u32, RecordBatch)>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let found = survive(|| reader.next().transpose()).and_then(|batch| {
            let rows = batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
            let reached = u64::from(self.row) + rows;
            match reached > self.end || (batch.is_none() && reached < self.end) {
                true => Err(format!("it ends at row {reached}, in the footer at {}", self.end)),
                false => Ok(batch),
            }
        });
        match found {
            Ok(batch) => {
                let (batch, row) = (batch?, self.row);
                self.row = row.saturating_add(batch.num_rows() as u32);
                Some(Ok((row, batch)))
            }
            Err(e) => {
                self.reader = None;
                Some(Err(damaged(&self.path, self.row_group, &e)))
            }
        }
    }
}

thread_local! {
    static SURVIVES: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread will be an error of an input file: nobody has to hear of it.
pub fn survives_panics() -> bool {
    SURVIVES.get()
}

/// Runs the Parquet library over bytes from outside. Where a damaged file makes it panic, as some
/// lengths below 0 do, that is an error of the file; `run` must leave nothing behind that is used
/// after it.
fn survive<T, E: std::fmt::Display>(run: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    SURVIVES.set(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    SURVIVES.set(false);
    match result {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("its lengths or offsets are damaged".to_owned()),
    }
}

/// An error about a file as a whole.
pub(super) fn input(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Input(format!("{}: {what}", path.display()))
}

fn damaged(path: &Path, row_group: usize, why: &dyn std::fmt::Display) -> Error {
    let what = format!("row group {row_group} cannot be read: {why}: write or copy the file again");
    input(path, what)
}

/// Parquet files start and end with `PAR1`. Said here because the reader's own words for the usual
/// accidents (a broken copy, a CSV under the wrong name) do not say what happened.
fn check_magic(path: &Path, file: &mut File) -> Result<()> {
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    if bytes == 0 {
        return Err(input(path, "expected a Parquet file, found 0 bytes: write or copy it again"));
    }
    let mut ends = [[0u8; 4]; 2];
    if bytes >= 4 {
        file.read_exact(&mut ends[0]).map_err(Error::io("read", path))?;
        file.seek(SeekFrom::End(-4)).map_err(Error::io("read", path))?;
        file.read_exact(&mut ends[1]).map_err(Error::io("read", path))?;
    }
    match (&ends[0] == b"PAR1", &ends[1] == b"PAR1" && bytes >= 12) {
        (true, true) => Ok(()),
        (true, false) => Err(input(
            path,
            format!(
                "the Parquet file is truncated: {bytes} bytes, and no footer at the end: \
                 write or copy it again"
            ),
        )),
        _ => Err(input(
            path,
            format!(
                "expected a Parquet file, which starts with \"PAR1\", found \"{}\": convert it \
                 with `steerage import`",
                ends[0].escape_ascii()
            ),
        )),
    }
}

/// What to say of a column that is not there.
pub(super) fn missing(name: &str, names: &[&str]) -> String {
    let near = names.iter().map(|n| (distance(name, n), *n)).min();
    let hint = match near {
        Some((edits, near)) if edits <= (name.len() / 3).max(2) => {
            format!("; did you mean {near:?}?")
        }
        _ => String::new(),
    };
    let list: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
    format!("no column {name:?}; its columns are {}{hint}", list.join(", "))
}

/// Levenshtein's distance, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// A column's type in the words of messages.
pub(super) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".into(),
        DataType::List(inner) => format!("list of {}", type_name(inner.data_type())),
        DataType::Struct(_) => "struct".into(),
        other => other.to_string().to_lowercase(),
    }
}
