//! What a teacher says: one row a user, request and item.
//!
//! | column | type | is |
//! |---|---|---|
//! | `user` | int64 or utf8 | who asks |
//! | `context` | utf8 | the user in words |
//! | `request` | utf8 | what they ask for |
//! | `category` | utf8 | what it is about |
//! | `wording_held_out` | bool | the wording is kept from training |
//! | `item` | uint32 | position in the catalogue |
//! | `item_held_out` | bool | the item is kept from training |
//! | `score` | float32 | how well the item answers the request, 0 to 1 |
//!
//! Rows are in the order of users, of their requests, and of items.

use super::columns::{Columns, Texts, batch, keys, required};
use super::{Dictionary, Kind};
use crate::error::{Error, Result};
use crate::types::{Category, Judgement};
use arrow::array::{BooleanArray, Float32Array, UInt32Array};
use arrow::datatypes::{Float32Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "judgements/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Only(&["user", "context", "request", "category"]),
};

/// The part of some judgements, in their order.
///
/// # Errors
/// [`Error::Input`] if users are integers in some rows and texts in others.
pub fn encode(rows: &[Judgement]) -> Result<Vec<u8>> {
    let [mut contexts, mut requests, mut categories]: [Texts; 3] = Default::default();
    for row in rows {
        contexts.push(&row.context);
        requests.push(&row.request);
        categories.push(row.category.name());
    }
    let truths = |of: fn(&Judgement) -> bool| {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>())
    };
    KIND.write(&batch(vec![
        keys("user", rows.iter().map(|row| &row.user))?,
        required("context", contexts.finish()),
        required("request", requests.finish()),
        required("category", categories.finish()),
        required("wording_held_out", truths(|row| row.wording_held_out)),
        required("item", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.item)))),
        required("item_held_out", truths(|row| row.item_held_out)),
        required("score", Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.score)))),
    ]))
}

/// The judgements of a part. `file` is what messages call it.
///
/// # Errors
/// [`Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Vec<Judgement>> {
    let reader = KIND.read(file, bytes)?;
    let mut rows = Vec::with_capacity(reader.rows);
    for columns in reader {
        rows.append(&mut rows_of(&columns?)?);
    }
    Ok(rows)
}

fn rows_of(columns: &Columns) -> Result<Vec<Judgement>> {
    let contexts = columns.texts("context", false)?;
    let requests = columns.texts("request", false)?;
    let categories = columns.texts("category", false)?;
    let wording_held_out = columns.truths("wording_held_out")?;
    let items = columns.values::<UInt32Type>("item")?;
    let item_held_out = columns.truths("item_held_out")?;
    let scores = columns.values::<Float32Type>("score")?;
    let users = columns.keys("user")?.into_iter().enumerate();
    let row = |(at, user)| {
        let name = categories.value(at);
        let category = Category::named(name).ok_or_else(|| columns.unknown("category", name))?;
        let score = scores[at];
        if !(0.0..=1.0).contains(&score) {
            let file = &columns.file;
            let what = format!("{file}: column \"score\": expected 0 to 1, found {score}");
            return Err(Error::Input(what));
        }
        Ok(Judgement {
            user,
            context: contexts.value(at).to_owned(),
            request: requests.value(at).to_owned(),
            category,
            wording_held_out: wording_held_out[at],
            item: items[at],
            item_held_out: item_held_out[at],
            score,
        })
    };
    users.map(row).collect()
}
