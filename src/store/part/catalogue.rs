//! Every item with its attributes, one row an item, ascending by key: row i is item i.
//!
//! | column | type | is |
//! |---|---|---|
//! | `item` | int64 or utf8 | the external id |
//! | `title` | utf8 | empty where there is none |
//! | `description` | utf8 | only where the job names a column of them |
//! | `popularity` | uint32 | interactions in the training part |
//! | `labels_NAME` | list of utf8 | the item's labels of attribute NAME |
//! | `number_NAME` | float32 | the number behind a binned attribute; NaN where unknown |
//!
//! The attributes are in the job's order. The key-value pair `steerage.attributes` holds their
//! names and labels as JSON, `[{"name": …, "labels": […], "binned": …}, …]`: the order of the
//! labels, and those that no item has.

use super::columns::{Columns, Texts, batch, keys, lists, required};
use super::{Dictionary, Kind};
use crate::error::{Error, Result};
use crate::types::{Attribute, Catalogue};
use arrow::array::{ArrayRef, Float32Array, UInt32Array};
use arrow::datatypes::{Field, Float32Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

const KIND: Kind = Kind {
    name: "catalogue/1",
    compression: Compression::LZ4_RAW,
    dictionary: Dictionary::Everywhere,
};
const ATTRIBUTES_KEY: &str = "steerage.attributes";

/// What a file says of an attribute beside its columns.
#[derive(Serialize, Deserialize)]
struct Header {
    name: String,
    labels: Vec<String>,
    binned: bool,
}

/// The part of a catalogue.
///
/// # Errors
/// [`Error::Input`] if ids are integers in some rows and texts in others.
pub fn encode(catalogue: &Catalogue) -> Result<Vec<u8>> {
    let mut columns = vec![
        keys("item", catalogue.keys.iter())?,
        texts("title", &catalogue.titles),
        required("popularity", Arc::new(UInt32Array::from(catalogue.popularity.clone()))),
    ];
    if !catalogue.descriptions.is_empty() {
        columns.push(texts("description", &catalogue.descriptions));
    }
    for attribute in &catalogue.attributes {
        columns.push(label_column(attribute));
        if !attribute.numbers.is_empty() {
            let numbers = Float32Array::from(attribute.numbers.clone());
            columns.push(required(&numbers_of(&attribute.name), Arc::new(numbers)));
        }
    }
    let headers: Vec<Header> = catalogue
        .attributes
        .iter()
        .map(|attribute| Header {
            name: attribute.name.clone(),
            labels: attribute.labels.clone(),
            binned: !attribute.numbers.is_empty(),
        })
        .collect();
    let json = serde_json::to_string(&headers).expect("texts and truth values are always JSON");
    let batch = batch(columns);
    let mut writer = KIND.writer(&batch.schema())?;
    writer.append_key_value_metadata(KeyValue::new(ATTRIBUTES_KEY.to_owned(), json));
    writer.write(&batch).map_err(|e| KIND.bug(&e))?;
    writer.into_inner().map_err(|e| KIND.bug(&e))
}

/// The catalogue of a part. `file` is what messages call it.
///
/// # Errors
/// [`Error::Input`] if it is truncated or another kind of file.
pub fn decode(file: &str, bytes: Bytes) -> Result<Catalogue> {
    let reader = KIND.read(file, bytes)?;
    let headers: Vec<Header> = match reader.pair(ATTRIBUTES_KEY).map(serde_json::from_str) {
        Some(Ok(headers)) => headers,
        _ => {
            return Err(Error::Input(format!(
                "{file}: expected the attributes' names and labels under {ATTRIBUTES_KEY:?}, found \
                 none that can be read"
            )));
        }
    };
    let mut catalogue =
        Catalogue { attributes: headers.iter().map(blank).collect(), ..Catalogue::default() };
    let codes: Vec<HashMap<&str, u32>> = headers.iter().map(|h| codes_of(&h.labels)).collect();
    for columns in reader {
        let columns = columns?;
        catalogue.keys.extend(columns.keys("item")?);
        let titles = columns.texts("title", false)?;
        catalogue.titles.extend(titles.iter().map(|title| title.unwrap_or_default().into()));
        if columns.has("description") {
            let texts = columns.texts("description", false)?;
            let texts = texts.iter().map(|text| text.unwrap_or_default().into());
            catalogue.descriptions.extend(texts);
        }
        catalogue.popularity.extend_from_slice(columns.values::<UInt32Type>("popularity")?);
        for ((attribute, header), codes) in
            catalogue.attributes.iter_mut().zip(&headers).zip(&codes)
        {
            extend(attribute, header, codes, &columns)?;
        }
    }
    Ok(catalogue)
}

fn texts(name: &str, texts: &[Box<str>]) -> (Field, ArrayRef) {
    let mut column = Texts::default();
    texts.iter().for_each(|text| column.push(text));
    required(name, column.finish())
}

fn labels_of(name: &str) -> String {
    format!("labels_{name}")
}

fn numbers_of(name: &str) -> String {
    format!("number_{name}")
}

fn label_column(attribute: &Attribute) -> (Field, ArrayRef) {
    let mut texts = Texts::default();
    attribute.codes.iter().for_each(|&code| texts.push(&attribute.labels[code as usize]));
    let ends = attribute.offsets.iter().skip(1).map(|&end| end as i32).collect();
    lists(&labels_of(&attribute.name), ends, texts.finish())
}

/// The attribute of no items.
fn blank(header: &Header) -> Attribute {
    Attribute {
        name: header.name.clone(),
        labels: header.labels.clone(),
        offsets: vec![0],
        ..Attribute::default()
    }
}

fn codes_of(labels: &[String]) -> HashMap<&str, u32> {
    labels.iter().zip(0..).map(|(label, code)| (label.as_str(), code)).collect()
}

/// Adds a batch of items.
fn extend(
    attribute: &mut Attribute,
    header: &Header,
    codes: &HashMap<&str, u32>,
    columns: &Columns,
) -> Result<()> {
    let name = labels_of(&header.name);
    for labels in columns.text_lists(&name)? {
        for label in labels {
            let code = codes.get(label.as_str());
            attribute.codes.push(*code.ok_or_else(|| columns.unknown(&name, &label))?);
        }
        attribute.offsets.push(attribute.codes.len() as u32);
    }
    if header.binned {
        let numbers = columns.values::<Float32Type>(&numbers_of(&header.name))?;
        attribute.numbers.extend_from_slice(numbers);
    }
    Ok(())
}
