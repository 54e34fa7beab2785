//! How often each arm showed each item in one epoch: what exposure metrics are summed from.
//!
//! | column | type | is |
//! |---|---|---|
//! | `arm` | uint32 | the arm's position in the job |
//! | `item` | uint32 | the item's position in the catalogue |
//! | `cutoff` | uint32 | the position of the first of the job's cut-offs that reaches it |
//! | `count` | uint64 | lists of the arm with the item in them |

use super::columns::{batch, required};
use super::{Dictionary, Kind};
use crate::error::Result;
use crate::types::ItemId;
use arrow::array::{UInt32Array, UInt64Array};
use arrow::datatypes::{UInt32Type, UInt64Type};
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "exposure/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Only(&[]),
};

/// One arm's count of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exposure {
    /// The arm's position in the job.
    pub arm: u32,
    /// The item.
    pub item: ItemId,
    /// The position of the first cut-off that reaches its place.
    pub cutoff: u32,
    /// How many of the arm's lists have it there.
    pub count: u64,
}

/// The part of some counts, in their order: ascending, by convention.
///
/// # Errors
/// None that input can cause.
pub fn encode(rows: &[Exposure]) -> Result<Vec<u8>> {
    KIND.write(&batch(vec![
        required("arm", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.arm)))),
        required("item", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.item)))),
        required("cutoff", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.cutoff)))),
        required("count", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.count)))),
    ]))
}

/// The counts of a part. `file` is what messages call it.
///
/// # Errors
/// [`crate::error::Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<Exposure>> {
    let reader = KIND.read(file, bytes)?;
    let mut rows = Vec::with_capacity(reader.rows);
    for columns in reader {
        let columns = columns?;
        let arms = columns.values::<UInt32Type>("arm")?;
        let items = columns.values::<UInt32Type>("item")?;
        let cutoffs = columns.values::<UInt32Type>("cutoff")?;
        let counts = columns.values::<UInt64Type>("count")?;
        rows.extend((0..columns.rows()).map(|at| Exposure {
            arm: arms[at],
            item: items[at],
            cutoff: cutoffs[at],
            count: counts[at],
        }));
    }
    Ok(rows)
}
