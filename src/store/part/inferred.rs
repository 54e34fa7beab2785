//! What a teacher thinks of items' attributes: one row an item.
//!
//! | column | type | is |
//! |---|---|---|
//! | `item` | uint32 | position in the catalogue |
//! | `attribute` | utf8 | the attribute's name |
//! | `label` | utf8 | one of its labels |
//! | `confidence` | float32 | how sure the teacher is, 0 to 1 |
//! | `known` | bool | the item has a value, and was asked about to measure the teacher |

use super::columns::{Columns, Texts, batch, required};
use super::{Dictionary, Kind};
use crate::error::Result;
use crate::types::Inferred;
use arrow::array::{BooleanArray, Float32Array, UInt32Array};
use arrow::datatypes::{Float32Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "inferred/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Only(&["attribute", "label"]),
};

/// The part of some inferences, in their order: ascending by item, by convention.
///
/// # Errors
/// None that input can cause.
pub fn encode(rows: &[Inferred]) -> Result<Vec<u8>> {
    let [mut attributes, mut labels]: [Texts; 2] = Default::default();
    for row in rows {
        attributes.push(&row.attribute);
        labels.push(&row.label);
    }
    let confidence = Float32Array::from_iter_values(rows.iter().map(|row| row.confidence));
    let known: BooleanArray = rows.iter().map(|row| Some(row.known)).collect();
    KIND.write(&batch(vec![
        required("item", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.item)))),
        required("attribute", attributes.finish()),
        required("label", labels.finish()),
        required("confidence", Arc::new(confidence)),
        required("known", Arc::new(known)),
    ]))
}

/// The inferences of a part. `file` is what messages call it.
///
/// # Errors
/// [`crate::error::Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<Inferred>> {
    let mut rows = Vec::new();
    for columns in KIND.read(file, bytes)? {
        rows.append(&mut rows_of(&columns?)?);
    }
    Ok(rows)
}

fn rows_of(columns: &Columns) -> Result<Vec<Inferred>> {
    let items = columns.values::<UInt32Type>("item")?;
    let attributes = columns.texts("attribute", false)?;
    let labels = columns.texts("label", false)?;
    let confidence = columns.values::<Float32Type>("confidence")?;
    let known = columns.truths("known")?;
    let row = |at: usize| Inferred {
        item: items[at],
        attribute: attributes.value(at).to_owned(),
        label: labels.value(at).to_owned(),
        confidence: confidence[at],
        known: known[at],
    };
    Ok((0..columns.rows()).map(row).collect())
}
