//! Events scattered by user: what `prepare` keeps between reading and ordering.
//!
//! | column | type | is |
//! |---|---|---|
//! | `shard` | uint32 | the input shard's number in the plan's listing |
//! | `row` | uint32 | the row in that shard, from 0 |
//! | `user` | int64 or utf8 | who |
//! | `item` | int64 or utf8 | with what |
//! | `time` | int64 | when, in the input's unit |
//! | `weight` | float32 | the weight column |

use super::columns::{Columns, batch, keys, required};
use super::{Dictionary, Kind, Reader};
use crate::error::Result;
use crate::types::{Interaction, Origin};
use arrow::array::{Float32Array, Int64Array, UInt32Array};
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "interactions/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Only(&[]),
};

/// The part of some events, in their order.
///
/// # Errors
/// [`crate::error::Error::Input`] if ids are integers in some rows and texts in others.
pub fn encode(rows: &[Interaction]) -> Result<Vec<u8>> {
    KIND.write(&batch(vec![
        required(
            "shard",
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.origin.shard))),
        ),
        required("row", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.origin.row)))),
        keys("user", rows.iter().map(|r| &r.user))?,
        keys("item", rows.iter().map(|r| &r.item))?,
        required("time", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.time)))),
        required("weight", Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.weight)))),
    ]))
}

/// The events of a part. `file` is what messages call it.
///
/// # Errors
/// [`crate::error::Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<Interaction>> {
    let reader = KIND.read(file, bytes)?;
    let mut rows = Vec::with_capacity(reader.rows);
    stream_of(reader).try_for_each(|group| group.map(|group| rows.extend(group)))?;
    Ok(rows)
}

/// The events of a part, at most a row group at a time.
///
/// # Errors
/// Those of [`decode`], for the file and then for each group.
pub fn stream(
    file: &str,
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<Vec<Interaction>>> + use<>> {
    KIND.read(file, bytes).map(stream_of)
}

fn stream_of(reader: Reader) -> impl Iterator<Item = Result<Vec<Interaction>>> {
    reader.map(|columns| rows_of(&columns?))
}

fn rows_of(columns: &Columns) -> Result<Vec<Interaction>> {
    let shards = columns.values::<UInt32Type>("shard")?;
    let rows = columns.values::<UInt32Type>("row")?;
    let (users, items) = (columns.keys("user")?, columns.keys("item")?);
    let times = columns.values::<Int64Type>("time")?;
    let weights = columns.values::<Float32Type>("weight")?;
    let keys = users.into_iter().zip(items).enumerate();
    Ok(keys
        .map(|(at, (user, item))| Interaction {
            origin: Origin { shard: shards[at], row: rows[at] },
            user,
            item,
            time: times[at],
            weight: weights[at],
        })
        .collect())
}
