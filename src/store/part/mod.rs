//! The Parquet files a run leaves: one module for each kind of row, with its columns.
//!
//! Same rows, same bytes: the writer's properties are fixed here, nothing in a file tells when or
//! where it was made, and a row group ends after a fixed number of rows. A key-value pair,
//! `steerage.part`, says which kind of part a file is, so that a reader refuses a foreign one by
//! name.

pub mod catalogue;
pub mod embeddings;
pub mod exposure;
pub mod faults;
pub mod inferred;
pub mod interactions;
pub mod judgements;
pub mod lists;
pub mod metrics;
pub mod sequences;

mod columns;

use crate::error::{Error, Result};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder as ReaderBuilder;
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReader};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use std::sync::Arc;

const PART_KEY: &str = "steerage.part";
/// What every file says of its maker. No version: the bytes are the format's, not the release's.
const CREATED_BY: &str = "steerage";
/// Rows of one row group, and of one batch of a reader. A bound on a reader's memory.
const GROUP_ROWS: usize = 65_536;

/// A kind of part.
struct Kind {
    /// Its name and version, as the file says them.
    name: &'static str,
    /// The codec of its pages.
    compression: Compression,
    /// Where it is worth it to number the distinct values.
    dictionary: Dictionary,
}

/// Which columns are written as numbers into a dictionary of their distinct values.
enum Dictionary {
    Everywhere,
    /// These, by their path in the file.
    Only(&'static [&'static str]),
}

impl Kind {
    fn properties(&self) -> WriterPropertiesBuilder {
        let plain = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_compression(self.compression)
            .set_dictionary_enabled(matches!(self.dictionary, Dictionary::Everywhere))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(vec![KeyValue::new(
                PART_KEY.to_owned(),
                self.name.to_owned(),
            )]));
        let Dictionary::Only(columns) = self.dictionary else {
            return plain;
        };
        columns.iter().fold(plain, |properties, path| {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            properties.set_column_dictionary_enabled(path.into(), true)
        })
    }

    /// A file of one schema, batch by batch.
    fn writer(&self, schema: &Arc<Schema>) -> Result<ArrowWriter<Vec<u8>>> {
        let properties = self.properties().build();
        ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(|e| self.bug(&e))
    }

    /// The file of one batch.
    fn write(&self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut writer = self.writer(&batch.schema())?;
        writer.write(batch).map_err(|e| self.bug(&e))?;
        writer.into_inner().map_err(|e| self.bug(&e))
    }

    /// Opens a part of this kind. `file` is what messages call it.
    fn read(&self, file: &str, bytes: Bytes) -> Result<Reader> {
        let size = bytes.len();
        let builder = ReaderBuilder::try_new(bytes).map_err(|e| {
            Error::Input(format!(
                "{file}: expected a whole Parquet file, found {size} bytes that are none ({e}): \
                 it is truncated or something else",
            ))
        })?;
        let pairs = builder.metadata().file_metadata().key_value_metadata();
        let found = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == PART_KEY));
        let found = found.and_then(|pair| pair.value.as_deref()).unwrap_or("a foreign file");
        if found != self.name {
            return Err(Error::Input(format!(
                "{file}: expected a part of kind {}, found {found}: the file is another job's or \
                 another release's",
                self.name
            )));
        }
        let file_metadata = builder.metadata().file_metadata();
        let rows = file_metadata.num_rows().max(0) as usize;
        let pairs = file_metadata.key_value_metadata().cloned().unwrap_or_default();
        let batches = builder
            .with_batch_size(GROUP_ROWS)
            .build()
            .map_err(|e| Error::Input(format!("{file}: cannot be read: {e}")))?;
        Ok(Reader { file: file.to_owned(), rows, pairs, batches })
    }

    /// Writing to memory fails only if the arrays do not fit the schema, which both come from here.
    fn bug(&self, error: &ParquetError) -> Error {
        Error::Incomplete(format!("a part of kind {} cannot be encoded: {error}", self.name))
    }
}

/// The batches of one file.
struct Reader {
    file: String,
    rows: usize,
    pairs: Vec<KeyValue>,
    batches: ParquetRecordBatchReader,
}

impl Reader {
    /// What the file says under a key, beside its columns.
    fn pair(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }
}

impl Iterator for Reader {
    type Item = Result<columns::Columns>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.batches.next()? {
            Ok(batch) => Ok(columns::Columns { file: self.file.clone(), batch }),
            Err(e) => Err(Error::Input(format!("{}: cannot be read: {e}", self.file))),
        })
    }
}
