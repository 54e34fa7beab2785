//! Between rows and Arrow arrays: keys as integer or text columns, lists as flat buffers.

use crate::error::{Error, Result};
use crate::types::Key;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, ListArray, PrimitiveArray,
    RecordBatch, StringArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use std::sync::Arc;

/// The column of keys: `int64` if all are integers, `utf8` if all are text; `int64` if there is
/// none.
pub fn keys<'a>(
    name: &str,
    keys: impl Iterator<Item = &'a Key> + Clone,
) -> Result<(Field, ArrayRef)> {
    let texts = keys.clone().filter(|key| matches!(key, Key::Text(_))).count();
    if texts == 0 {
        let values = keys.filter_map(|key| match key {
            Key::Int(value) => Some(*value),
            Key::Text(_) => None,
        });
        return Ok(required(name, Arc::new(Int64Array::from_iter_values(values))));
    }
    let mut flat = Texts::default();
    for key in keys {
        match key {
            Key::Text(text) => flat.push(text),
            Key::Int(value) => {
                return Err(Error::Input(format!(
                    "column {name:?}: expected ids of one type, found texts and the integer \
                     {value}: give the id column the same type in every input file"
                )));
            }
        }
    }
    Ok(required(name, flat.finish()))
}

/// Texts in one buffer.
#[derive(Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Texts {
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len() as i32);
    }

    pub fn finish(self) -> ArrayRef {
        let offsets = offsets(self.ends);
        let array = StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None);
        Arc::new(array.expect("offsets ascend and cut the buffer between whole texts"))
    }
}

/// A column without nulls.
pub fn required(name: &str, array: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), false), array)
}

/// A column of lists, without nulls: `ends[i]` is where list i ends in `values`.
pub fn lists(name: &str, ends: Vec<i32>, values: ArrayRef) -> (Field, ArrayRef) {
    lists_over(name, &offsets(ends), values)
}

/// As [`lists`], for columns that share their offsets: `offsets[i]..offsets[i + 1]` is list i.
pub fn lists_over(name: &str, offsets: &OffsetBuffer<i32>, values: ArrayRef) -> (Field, ArrayRef) {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    let array = ListArray::try_new(item, offsets.clone(), values, None);
    let array = array.expect("the last offset is the number of values, and none of them is null");
    required(name, Arc::new(array))
}

/// A column of lists from slices, in one pass.
pub fn slices<'a, T: ArrowPrimitiveType>(
    name: &str,
    rows: impl Iterator<Item = &'a [T::Native]>,
) -> (Field, ArrayRef) {
    let (mut ends, mut flat) = (Vec::new(), Vec::new());
    for row in rows {
        flat.extend_from_slice(row);
        ends.push(flat.len() as i32);
    }
    lists(name, ends, Arc::new(PrimitiveArray::<T>::new(flat.into(), None)))
}

/// Offsets from the end of each list.
pub fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend(ends);
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

/// The batch of some columns.
pub fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .expect("every column has one value a row and the type of its own field")
}

/// A batch that was read, by the names of its columns.
pub struct Columns {
    pub file: String,
    pub batch: RecordBatch,
}

/// A column of lists that was read.
pub struct Lists<'a, N> {
    offsets: &'a [i32],
    values: &'a [N],
}

impl<'a, N> Lists<'a, N> {
    pub fn get(&self, row: usize) -> &'a [N] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl Columns {
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn keys(&self, name: &str) -> Result<Vec<Key>> {
        let column = self.column(name)?;
        self.keys_of(name, column)
    }

    /// A column of lists of keys, row by row.
    pub fn key_lists(&self, name: &str) -> Result<Vec<Vec<Key>>> {
        let list = self.list(name)?;
        let mut keys = self.keys_of(name, list.values())?.into_iter();
        let first = list.value_offsets().first().map_or(0, |&first| first as usize);
        keys.by_ref().take(first).for_each(drop);
        Ok((0..list.len())
            .map(|row| keys.by_ref().take(list.value_length(row) as usize).collect())
            .collect())
    }

    pub fn values<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&[T::Native]> {
        let column = self.column(name)?;
        self.values_of::<T>(name, column)
    }

    pub fn lists<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Lists<'_, T::Native>> {
        let list = self.list(name)?;
        let values = self.values_of::<T>(name, list.values())?;
        Ok(Lists { offsets: list.value_offsets(), values })
    }

    /// A column of truths, row by row.
    pub fn truths(&self, name: &str) -> Result<Vec<bool>> {
        let column = self.column(name)?;
        let truths = column.as_boolean_opt();
        let truths = truths.ok_or_else(|| self.mismatch(name, &DataType::Boolean, column))?;
        if truths.null_count() > 0 {
            return Err(self.null(name));
        }
        Ok((0..truths.len()).map(|row| truths.value(row)).collect())
    }

    /// A column of texts; it may have nulls if `nullable`.
    pub fn texts(&self, name: &str, nullable: bool) -> Result<&StringArray> {
        let column = self.column(name)?;
        let texts = column.as_string_opt::<i32>();
        let texts = texts.ok_or_else(|| self.mismatch(name, &DataType::Utf8, column))?;
        if texts.null_count() > 0 && !nullable {
            return Err(self.null(name));
        }
        Ok(texts)
    }

    /// A column of lists of texts, row by row.
    pub fn text_lists(&self, name: &str) -> Result<Vec<Vec<String>>> {
        let list = self.list(name)?;
        (0..list.len())
            .map(|row| {
                let values = list.value(row);
                let texts = values.as_string_opt::<i32>();
                let texts = texts.ok_or_else(|| self.mismatch(name, &DataType::Utf8, &values))?;
                Ok(texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
            })
            .collect()
    }

    /// Says that a value is none this release writes.
    pub fn unknown(&self, name: &str, found: &str) -> Error {
        Error::Input(format!("{}: column {name:?}: found the unknown value {found:?}", self.file))
    }

    /// Whether there is such a column.
    pub fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.batch.column_by_name(name).ok_or_else(|| {
            Error::Input(format!("{}: expected a column {name:?}, found none", self.file))
        })
    }

    fn list(&self, name: &str) -> Result<&ListArray> {
        let column = self.column(name)?;
        column.as_list_opt::<i32>().ok_or_else(|| {
            Error::Input(format!(
                "{}: column {name:?}: expected a list, found {}",
                self.file,
                column.data_type()
            ))
        })
    }

    fn keys_of(&self, name: &str, column: &ArrayRef) -> Result<Vec<Key>> {
        if let Some(texts) = column.as_string_opt::<i32>() {
            return Ok(texts.iter().map(|text| Key::from(text.unwrap_or_default())).collect());
        }
        let values = self.values_of::<Int64Type>(name, column)?;
        Ok(values.iter().map(|&value| Key::Int(value)).collect())
    }

    fn values_of<'a, T: ArrowPrimitiveType>(
        &self,
        name: &str,
        column: &'a ArrayRef,
    ) -> Result<&'a [T::Native]> {
        let array = column.as_primitive_opt::<T>();
        let array = array.ok_or_else(|| self.mismatch(name, &T::DATA_TYPE, column))?;
        if array.null_count() > 0 {
            return Err(self.null(name));
        }
        Ok(array.values())
    }

    fn mismatch(&self, name: &str, expected: &DataType, found: &ArrayRef) -> Error {
        let found = found.data_type();
        Error::Input(format!("{}: column {name:?}: expected {expected}, found {found}", self.file))
    }

    fn null(&self, name: &str) -> Error {
        Error::Input(format!("{}: column {name:?}: expected a value, found null", self.file))
    }
}
