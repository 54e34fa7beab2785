//! `metrics.parquet`: every figure of a run as a table, for notebooks and dashboards.
//!
//! | column | type | is |
//! |---|---|---|
//! | `arm`, `metric` | utf8 | whose figure, and which |
//! | `slice_dimension`, `slice_label` | utf8 | which part of the users; empty for all |
//! | `mean`, `low`, `high` | float64 | the mean and its 95 % interval |
//! | `difference`, `…_low`, `…_high` | float64, nullable | paired, to the baseline |
//! | `users` | uint64 | how many users |

use super::columns::{Texts, batch, required};
use super::{Dictionary, Kind};
use crate::error::Result;
use arrow::array::{Float64Array, UInt64Array};
use arrow::datatypes::{DataType, Field};
use parquet::basic::Compression;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "metrics/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Everywhere,
};

const TEXTS: [&str; 4] = ["arm", "metric", "slice_dimension", "slice_label"];
const FIGURES: [&str; 6] =
    ["mean", "low", "high", "difference", "difference_low", "difference_high"];

/// One figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Arm, metric, slice dimension, slice label.
    pub texts: [String; 4],
    /// Mean, low, high, and those of the difference.
    pub figures: [Option<f64>; 6],
    /// Over how many users.
    pub users: u64,
}

/// The table of some figures, in their order.
///
/// # Errors
/// None that input can cause.
pub fn encode(rows: &[Row]) -> Result<Vec<u8>> {
    let mut columns = Vec::new();
    for (at, name) in TEXTS.iter().enumerate() {
        let mut texts = Texts::default();
        rows.iter().for_each(|row| texts.push(&row.texts[at]));
        columns.push(required(name, texts.finish()));
    }
    for (at, name) in FIGURES.iter().enumerate() {
        let figures = Float64Array::from_iter(rows.iter().map(|row| row.figures[at]));
        columns.push((Field::new(*name, DataType::Float64, true), Arc::new(figures) as _));
    }
    let users = UInt64Array::from_iter_values(rows.iter().map(|row| row.users));
    columns.push(required("users", Arc::new(users)));
    KIND.write(&batch(columns))
}
