//! The Parquet files people bring: interactions, item and user tables, controls, exclusions and
//! given candidates. Owns the schema checks and their messages, and the row faults of reading.
//!
//! Types are taken from Parquet alone, not from an Arrow schema that some writer embedded: a string
//! is a string whether it was written from a dictionary, a view or a large column. A file is opened
//! once (its schema is checked then) and read by row group in batches, so that a shard may be
//! larger than memory. What is wrong with a file is an
//! [`Error::Input`](crate::error::Error::Input); what is wrong with a row is a
//! [`Fault`] beside the rows that are right.

mod bins;
mod column;
mod controls;
mod given;
mod index;
mod interactions;
mod requests;
mod resolve;
mod source;
mod table;
mod values;

pub use bins::{BinRule, bin};
pub use column::KeyType;
pub use controls::{
    ControlColumns, ControlRow, ExclusionColumns, ExclusionRow, read_controls, read_exclusions,
};
pub use given::{GivenBatch, GivenColumns, GivenFile, open_given};
pub use index::ItemIndex;
pub use interactions::{
    InteractionBatches, InteractionColumns, InteractionFile, agree, open_interactions,
};
pub use requests::{RequestColumns, RequestRow, read_requests};
pub use resolve::resolve;
pub use source::{has_column, survives_panics};
pub use table::{
    AttributeColumn, RawColumn, RawValues, TEXT_BYTES_MAX, Table, TableColumns, read_table,
};

use crate::types::Fault;

/// What was read: the rows that are right, and what was wrong with the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<T> {
    /// In the order of the file.
    pub rows: Vec<T>,
    /// In the order of the file.
    pub faults: Vec<Fault>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Rows { rows: Vec::new(), faults: Vec::new() }
    }
}
