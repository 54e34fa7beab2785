//! Amazon's reviews and metadata, as J. McAuley's group publishes them: one object a line.

use super::lines::{Refused, each, utf8};
use super::write::{Cell, CellType, Sink, TableName};
use super::{clean, python};
use crate::error::Result;
use serde_json::{Map, Value};
use std::path::Path;

type Object = Map<String, Value>;

/// Reads one file. A line with a `reviewerID` is a review; without one it is an item.
pub(super) fn read(path: &Path, sink: &mut Sink) -> Result<()> {
    let mut items = false;
    each(path, sink, |line, sink| {
        let object = parse(utf8(line)?)?;
        if object.contains_key("reviewerID") {
            return review(&object, sink);
        }
        if !items {
            sink.table(TableName::Items, path, columns())?;
            items = true;
        }
        item(&object, sink)
    })
}

fn parse(line: &str) -> Result<Object, Refused> {
    let value = serde_json::from_str(line).or_else(|json| {
        // The 2014 files are Python; where a line is neither, JSON's complaint is the useful one.
        python::parse(line).map_err(|python| {
            if line.starts_with("{'") || line.starts_with("{u'") {
                format!("not a Python dict: {python}")
            } else {
                format!("not JSON: {json}")
            }
        })
    })?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err("expected an object".into()),
    }
}

fn review(object: &Object, sink: &mut Sink) -> Result<(), Refused> {
    let time = object.get("unixReviewTime").and_then(Value::as_i64);
    let time = time.ok_or("expected an integer as unixReviewTime")?;
    let weight = match object.get("overall") {
        None => 1.0,
        Some(value) => value.as_f64().ok_or("expected a number as overall")?,
    };
    sink.interaction(key(object, "reviewerID")?, key(object, "asin")?, time, weight)
}

fn columns() -> Vec<(String, CellType)> {
    [
        ("title", CellType::Text),
        ("brand", CellType::Text),
        ("price", CellType::Number),
        ("rank", CellType::Number),
        ("rank_category", CellType::Text),
        ("category", CellType::Texts),
        ("description", CellType::Text),
    ]
    .map(|(name, kind)| (name.to_owned(), kind))
    .into()
}

fn item(object: &Object, sink: &mut Sink) -> Result<(), Refused> {
    let key = key(object, "asin")?;
    let text = |name| Cell::Text(object.get(name).and_then(joined));
    let price = match object.get("price") {
        Some(Value::String(text)) => clean::price(text),
        Some(number) => number.as_f64(),
        None => None,
    };
    let (rank, rank_category) = rank(object).unzip();
    let mut category = Vec::new();
    for name in ["category", "categories"] {
        object.get(name).iter().for_each(|value| flatten(value, &mut category));
    }
    let cells = vec![
        text("title"),
        text("brand"),
        Cell::Number(price),
        Cell::Number(rank),
        Cell::Text(rank_category.flatten()),
        Cell::Texts(category),
        text("description"),
    ];
    sink.row(TableName::Items, key, cells)
}

fn key<'a>(object: &'a Object, name: &str) -> Result<&'a str, Refused> {
    let key = object.get(name).and_then(Value::as_str);
    key.ok_or_else(|| format!("expected a string as {name}").into())
}

/// `rank` is a text or a list of texts (2018); `salesRank` is a dict from category to rank (2014).
fn rank(object: &Object) -> Option<(f64, Option<String>)> {
    match object.get("rank").or_else(|| object.get("salesRank"))? {
        Value::String(text) => clean::rank(text),
        Value::Array(ranks) => ranks.iter().find_map(|rank| clean::rank(rank.as_str()?)),
        Value::Object(ranks) => {
            let (category, rank) = ranks.iter().next()?;
            Some((rank.as_f64()?, clean::text(category)))
        }
        number => Some((number.as_f64()?, None)),
    }
}

/// A text, or the texts of a list as one.
fn joined(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => clean::text(text),
        Value::Array(texts) => {
            let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
            clean::text(&texts.join(" "))
        }
        _ => None,
    }
}

/// The distinct texts of nested lists, in their order.
fn flatten(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.extend(clean::text(text).filter(|text| !out.contains(text))),
        Value::Array(values) => values.iter().for_each(|value| flatten(value, out)),
        _ => {}
    }
}
