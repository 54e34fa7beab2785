//! The dead-letter file of an epoch: every row that could not be finished, and why.
//!
//! | column | type | is |
//! |---|---|---|
//! | `shard` | utf8 | the input shard's name |
//! | `row` | uint32 | the row in that shard, from 0 |
//! | `stage` | utf8 | who gave it up |
//! | `kind` | utf8 | the kind of reason, to count by |
//! | `reason` | utf8 | the reason, to read |

use super::columns::{Texts, batch, required};
use super::{Dictionary, Kind};
use crate::error::Result;
use crate::types::{Fault, StageName};
use arrow::array::UInt32Array;
use arrow::datatypes::UInt32Type;
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "faults/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Only(&["shard", "stage", "kind"]),
};

/// A row of the dead-letter file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetter {
    /// The input shard's name.
    pub shard: String,
    /// The row in it.
    pub row: u32,
    /// Who gave it up.
    pub stage: StageName,
    /// See [`crate::types::FaultKind::name`].
    pub kind: String,
    /// Why, to read.
    pub reason: String,
}

/// The part of some faults, in their order: ascending, by convention. `shard` names a shard of the
/// plan's listing.
///
/// # Errors
/// None that input can cause.
pub fn encode<'a>(faults: &[Fault], shard: impl Fn(u32) -> &'a str) -> Result<Vec<u8>> {
    let [mut shards, mut stages, mut kinds, mut reasons]: [Texts; 4] = Default::default();
    for fault in faults {
        shards.push(shard(fault.origin.shard));
        stages.push(&fault.stage.to_string());
        kinds.push(fault.kind.name());
        reasons.push(&fault.kind.to_string());
    }
    let rows = UInt32Array::from_iter_values(faults.iter().map(|fault| fault.origin.row));
    KIND.write(&batch(vec![
        required("shard", shards.finish()),
        required("row", Arc::new(rows)),
        required("stage", stages.finish()),
        required("kind", kinds.finish()),
        required("reason", reasons.finish()),
    ]))
}

/// The rows of a part. `file` is what messages call it.
///
/// # Errors
/// [`crate::error::Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<DeadLetter>> {
    let reader = KIND.read(file, bytes)?;
    let mut letters = Vec::with_capacity(reader.rows);
    for columns in reader {
        let columns = columns?;
        let shards = columns.texts("shard", false)?;
        let rows = columns.values::<UInt32Type>("row")?;
        let stages = columns.texts("stage", false)?;
        let kinds = columns.texts("kind", false)?;
        let reasons = columns.texts("reason", false)?;
        for (at, &row) in rows.iter().enumerate() {
            let name = stages.value(at);
            let stage = StageName::ALL.into_iter().find(|stage| stage.to_string() == name);
            letters.push(DeadLetter {
                shard: shards.value(at).to_owned(),
                row,
                stage: stage.ok_or_else(|| columns.unknown("stage", name))?,
                kind: kinds.value(at).to_owned(),
                reason: reasons.value(at).to_owned(),
            });
        }
    }
    Ok(letters)
}
