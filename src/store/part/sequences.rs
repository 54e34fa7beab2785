//! Prepared histories, one row a user: what retrieval is trained on and lists are made for.
//!
//! | column | type | is |
//! |---|---|---|
//! | `user` | int64 or utf8 | who |
//! | `items` | list of uint32 | positions in the catalogue, oldest first |
//! | `times` | list of int64 | when, in the input's unit |
//! | `train` | uint32 | how many of `items` may be learned from |
//! | `valid` | uint32 | how many after those are held out for validation |
//! | `segments` | list of uint32 | one label code for each user attribute of the run |

use super::columns::{Columns, batch, keys, required, slices};
use super::{Dictionary, Kind, Reader};
use crate::error::{Error, Result};
use crate::types::Sequence;
use arrow::array::UInt32Array;
use arrow::datatypes::{Int64Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "sequences/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Only(&[]),
};

/// The part of some users, in their order.
///
/// # Errors
/// [`Error::Input`] if users are integers in some rows and texts in others.
pub fn encode(rows: &[Sequence]) -> Result<Vec<u8>> {
    KIND.write(&batch(vec![
        keys("user", rows.iter().map(|r| &r.user))?,
        slices::<UInt32Type>("items", rows.iter().map(|r| &r.items[..])),
        slices::<Int64Type>("times", rows.iter().map(|r| &r.times[..])),
        required("train", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.train)))),
        required("valid", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.valid)))),
        slices::<UInt32Type>("segments", rows.iter().map(|r| &r.segments[..])),
    ]))
}

/// The users of a part. `file` is what messages call it.
///
/// # Errors
/// [`Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<Sequence>> {
    let reader = KIND.read(file, bytes)?;
    let mut rows = Vec::with_capacity(reader.rows);
    stream_of(reader).try_for_each(|group| group.map(|group| rows.extend(group)))?;
    Ok(rows)
}

/// The users of a part, at most a row group at a time.
///
/// # Errors
/// Those of [`decode`], for the file and then for each group.
pub fn stream(
    file: &str,
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<Vec<Sequence>>> + use<>> {
    KIND.read(file, bytes).map(stream_of)
}

fn stream_of(reader: Reader) -> impl Iterator<Item = Result<Vec<Sequence>>> {
    reader.map(|columns| rows_of(&columns?))
}

fn rows_of(columns: &Columns) -> Result<Vec<Sequence>> {
    let items = columns.lists::<UInt32Type>("items")?;
    let times = columns.lists::<Int64Type>("times")?;
    let train = columns.values::<UInt32Type>("train")?;
    let valid = columns.values::<UInt32Type>("valid")?;
    let segments = columns.lists::<UInt32Type>("segments")?;
    let users = columns.keys("user")?.into_iter().enumerate();
    users
        .map(|(at, user)| {
            let row = Sequence {
                user,
                items: items.get(at).to_vec(),
                times: times.get(at).to_vec(),
                train: train[at],
                valid: valid[at],
                segments: segments.get(at).to_vec(),
            };
            let held = u64::from(row.train) + u64::from(row.valid);
            if row.times.len() == row.items.len() && held <= row.items.len() as u64 {
                return Ok(row);
            }
            Err(Error::Input(format!(
                "{}: user {}: expected a time for each item and a split within them, found {} \
                 items, {} times, split {} + {}",
                columns.file,
                row.user,
                row.items.len(),
                row.times.len(),
                row.train,
                row.valid
            )))
        })
        .collect()
}
