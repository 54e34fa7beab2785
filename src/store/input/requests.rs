//! What users asked for in their own words: a small table, read whole.

use super::Rows;
use super::column::{Flaw, Keys, Numbers, Texts, is_key, is_number, is_text};
use super::controls::{KEY, each, get, optional, read};
use super::source::Source;
use crate::error::Result;
use crate::types::{Key, Origin};
use arrow::record_batch::RecordBatch;
use std::path::PathBuf;

/// The columns of a table of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestColumns {
    /// Who asked: an integer or a string.
    pub user: String,
    /// Their words.
    pub request: String,
    /// How much the request counts, 0 to 1.
    pub weight: Option<String>,
}

/// One row of a table of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRow {
    /// Where it was read.
    pub origin: Origin,
    /// Who asked.
    pub user: Key,
    /// Their words.
    pub text: String,
    /// How much it counts; `None` where there is no such column or no value.
    pub weight: Option<f32>,
}

/// Reads what users asked for, in the order of the input. A request of blanks alone, and a weight
/// that is none, are faults.
///
/// # Errors
/// Those of [`super::read_controls`].
pub fn read_requests(paths: &[PathBuf], columns: &RequestColumns) -> Result<Rows<RequestRow>> {
    read(paths, |source| {
        let user = source.column(&columns.user, KEY, is_key)?;
        let request = source.column(&columns.request, "a string", is_text)?;
        let weight = match &columns.weight {
            Some(name) => Some(source.column(name, "a number", is_number)?),
            None => None,
        };
        Ok(move |source: &Source, batch: &RecordBatch, first, out: &mut _| {
            let pick = |column| source.pick(batch, column);
            let users = Keys::of(pick(&user))?;
            let texts = Texts::of(pick(&request))?;
            let weights = weight.as_ref().map(|weight| Numbers::of(pick(weight))).transpose()?;
            each(batch, first, out, |row, origin| {
                let weight = match (&weights, &weight) {
                    (Some(weights), Some(column)) => {
                        optional(weights.get(row).and_then(share), column)?
                    }
                    _ => None,
                };
                let text = get(texts.get(row).and_then(said), &request)?.to_owned();
                Ok(RequestRow { origin, user: get(users.get(row), &user)?, text, weight })
            });
            Ok(())
        })
    })
}

fn said(text: &str) -> Result<&str, Flaw> {
    let text = text.trim();
    if text.is_empty() { Err(Flaw::Null) } else { Ok(text) }
}

fn share(weight: f64) -> Result<f32, Flaw> {
    let inside = (0.0..=1.0).contains(&weight);
    if inside { Ok(weight as f32) } else { Err(Flaw::unreadable(&weight.to_string())) }
}
