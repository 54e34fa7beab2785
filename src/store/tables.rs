//! Plain tables as Parquet files: what this program makes up instead of reading it from somebody.

use crate::error::{Error, Result};
use arrow::array::{ArrayRef, Float32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// The values of a column, one a row; `None` is null.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Integers.
    Ints(Vec<Option<i64>>),
    /// Numbers.
    Numbers(Vec<Option<f32>>),
    /// Texts.
    Texts(Vec<Option<String>>),
}

impl Values {
    fn array(self) -> ArrayRef {
        match self {
            Values::Ints(values) => Arc::new(Int64Array::from(values)),
            Values::Numbers(values) => Arc::new(Float32Array::from(values)),
            Values::Texts(values) => Arc::new(StringArray::from(values)),
        }
    }
}

/// A Parquet file of named columns, in row groups of `group_rows` rows. Same columns, same bytes.
///
/// # Errors
/// [`Error::Input`] if the columns are not equally long.
pub fn encode(columns: Vec<(&str, Values)>, group_rows: usize) -> Result<Vec<u8>> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let unfit = |e: &dyn std::fmt::Display| {
        Error::Input(format!("a table of the columns {names:?} cannot be encoded: {e}"))
    };
    let arrays = columns.into_iter().map(|(name, values)| (name, values.array(), true));
    let batch = RecordBatch::try_from_iter_with_nullable(arrays).map_err(|e| unfit(&e))?;
    let properties = WriterProperties::builder()
        .set_created_by("steerage".to_owned())
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))
        .map_err(|e| unfit(&e))?;
    writer.write(&batch).map_err(|e| unfit(&e))?;
    writer.into_inner().map_err(|e| unfit(&e))
}
