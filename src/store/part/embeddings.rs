//! The catalogue as vectors: one row an item, to be searched by anything that reads Parquet.
//!
//! | column | type | is |
//! |---|---|---|
//! | `item` | int64 or utf8 | the item's external id |
//! | `text_hash` | utf8 | BLAKE3 of the text that was encoded, 32 hex digits |
//! | `embedding` | list of float32 | the item's vector, of length 1 |
//!
//! Rows are in the order of the catalogue.

use super::columns::{Texts, batch, keys, required, slices};
use super::{Dictionary, Kind};
use crate::error::Result;
use crate::types::Key;
use arrow::datatypes::Float32Type;
use bytes::Bytes;
use parquet::basic::Compression;

const KIND: Kind = Kind {
    name: "embeddings/1",
    compression: Compression::UNCOMPRESSED, // vectors do not shrink
    dictionary: Dictionary::Only(&[]),
};

/// An item's vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The item's external id.
    pub item: Key,
    /// Of the text.
    pub text_hash: String,
    /// The vector.
    pub vector: Vec<f32>,
}

/// The hash by which a text is known again.
pub fn text_hash(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    hash[..32].to_owned()
}

/// The part of some items, in their order.
///
/// # Errors
/// [`crate::error::Error::Input`] if ids are integers in some rows and texts in others.
pub fn encode(rows: &[Embedding]) -> Result<Vec<u8>> {
    let mut hashes = Texts::default();
    rows.iter().for_each(|row| hashes.push(&row.text_hash));
    KIND.write(&batch(vec![
        keys("item", rows.iter().map(|row| &row.item))?,
        required("text_hash", hashes.finish()),
        slices::<Float32Type>("embedding", rows.iter().map(|row| &row.vector[..])),
    ]))
}

/// The items of a part. `file` is what messages call it.
///
/// # Errors
/// [`crate::error::Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<Embedding>> {
    let reader = KIND.read(file, bytes)?;
    let mut rows = Vec::with_capacity(reader.rows);
    for columns in reader {
        let columns = columns?;
        let hashes = columns.texts("text_hash", false)?;
        let vectors = columns.lists::<Float32Type>("embedding")?;
        let items = columns.keys("item")?.into_iter().enumerate();
        rows.extend(items.map(|(at, item)| Embedding {
            item,
            text_hash: hashes.value(at).to_owned(),
            vector: vectors.get(at).to_vec(),
        }));
    }
    Ok(rows)
}
