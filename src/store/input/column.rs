//! The columns of a batch as what rows need of them: keys, integers, numbers and texts, each cell a
//! value or a [`Flaw`].

use crate::types::{FaultKind, Key};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, StringArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a key column holds. All shards of an input have to agree: 7 and "7" are different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    /// Integers of any width.
    Int,
    /// Strings.
    Text,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyType::Int => "integer",
            KeyType::Text => "string",
        })
    }
}

impl KeyType {
    pub(super) fn of(kind: &DataType) -> KeyType {
        if kind.is_integer() { KeyType::Int } else { KeyType::Text }
    }
}

pub(super) fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::Binary)
}

pub(super) fn is_key(kind: &DataType) -> bool {
    kind.is_integer() || is_text(kind)
}

pub(super) fn is_time(kind: &DataType) -> bool {
    kind.is_integer()
        || matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

pub(super) fn is_number(kind: &DataType) -> bool {
    kind.is_numeric()
}

/// Whether a cell of the type can be said as one text.
pub(super) fn is_label(kind: &DataType) -> bool {
    is_text(kind) || is_number(kind) || is_time(kind) || *kind == DataType::Boolean
}

/// What is wrong with a cell.
#[derive(Debug, PartialEq)]
pub(super) enum Flaw {
    Null,
    NotFinite,
    /// What was found.
    Unreadable(String),
}

impl Flaw {
    pub fn unreadable(found: &str) -> Flaw {
        const SHOWN_CHARS: usize = 40;
        let mut short: String = found.chars().take(SHOWN_CHARS).collect();
        if short.len() < found.len() {
            short.push('…');
        }
        Flaw::Unreadable(short)
    }

    pub fn of(self, column: &str) -> FaultKind {
        let column = column.to_owned();
        match self {
            Flaw::Null => FaultKind::Null { column },
            Flaw::NotFinite => FaultKind::NotFinite { column },
            Flaw::Unreadable(found) => FaultKind::Unreadable { column, found },
        }
    }
}

/// A checked cast: what the type cannot hold becomes null.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..Default::default() })
}

/// A column of integers, times or dates.
pub(super) struct Ints {
    values: Int64Array,
    raw: ArrayRef,
}

impl Ints {
    pub fn of(raw: &ArrayRef) -> Result<Ints, ArrowError> {
        let values = cast(raw, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        Ok(Ints { values, raw: raw.clone() })
    }

    /// The values and nothing else, where no cell is null or out of range.
    pub fn flat(&self) -> Option<&[i64]> {
        (self.values.null_count() == 0).then(|| &self.values.values()[..])
    }

    pub fn get(&self, row: usize) -> Result<i64, Flaw> {
        if self.values.is_valid(row) {
            Ok(self.values.value(row))
        } else if self.raw.is_null(row) {
            Err(Flaw::Null)
        } else {
            // The checked cast made it null: the value is beyond i64.
            Err(Flaw::unreadable(&array_value_to_string(&self.raw, row).unwrap_or_default()))
        }
    }
}

/// A column of numbers.
pub(super) struct Numbers(Float64Array);

impl Numbers {
    pub fn of(raw: &ArrayRef) -> Result<Numbers, ArrowError> {
        Ok(Numbers(cast(raw, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
    }

    pub fn get(&self, row: usize) -> Result<f64, Flaw> {
        match self.0.is_valid(row).then(|| self.0.value(row)) {
            None => Err(Flaw::Null),
            Some(value) if value.is_finite() => Ok(value),
            Some(_) => Err(Flaw::NotFinite),
        }
    }
}

/// A column of texts. Columns that do not claim to be UTF-8 are checked cell by cell.
pub(super) enum Texts {
    Utf8(StringArray),
    Bytes(BinaryArray),
}

impl Texts {
    /// Any column that [`is_label`] accepts, or one that is null throughout: numbers and dates as
    /// people write them.
    pub fn of(raw: &ArrayRef) -> Result<Texts, ArrowError> {
        Ok(match raw.data_type() {
            DataType::Utf8 => Texts::Utf8(raw.as_string::<i32>().clone()),
            DataType::Binary => Texts::Bytes(raw.as_binary::<i32>().clone()),
            DataType::Null => {
                Texts::Utf8(new_null_array(&DataType::Utf8, raw.len()).as_string::<i32>().clone())
            }
            kind if kind.is_floating() => {
                let numbers = cast(raw, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                let text = |x: Option<f64>| x.filter(|x| x.is_finite()).map(|x| x.to_string());
                Texts::Utf8(numbers.iter().map(text).collect())
            }
            _ => Texts::Utf8(cast(raw, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    pub fn get(&self, row: usize) -> Result<&str, Flaw> {
        match self {
            Texts::Utf8(a) if a.is_valid(row) => Ok(a.value(row)),
            Texts::Bytes(a) if a.is_valid(row) => std::str::from_utf8(a.value(row))
                .map_err(|_| Flaw::unreadable(&String::from_utf8_lossy(a.value(row)))),
            _ => Err(Flaw::Null),
        }
    }
}

/// A column of keys.
pub(super) enum Keys {
    Int(Ints),
    Text(Texts),
}

impl Keys {
    pub fn of(raw: &ArrayRef) -> Result<Keys, ArrowError> {
        Ok(match KeyType::of(raw.data_type()) {
            KeyType::Int => Keys::Int(Ints::of(raw)?),
            KeyType::Text => Keys::Text(Texts::of(raw)?),
        })
    }

    pub fn get(&self, row: usize) -> Result<Key, Flaw> {
        match self {
            Keys::Int(ints) => ints.get(row).map(Key::Int),
            Keys::Text(texts) => texts.get(row).map(Key::from),
        }
    }
}
