//! The form of answers: shown to models as an example, and as a JSON schema to servers that keep
//! answers to one.

use serde_json::{Map, Value, json};

/// How an answer should look.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// An answer of the form.
    pub example: &'static str,
    /// What an answer holds, in words.
    pub holds: &'static str,
    /// Which answers are of the form.
    pub schema: Value,
}

/// An object that has all of these fields and no others, which is what servers ask of schemas that
/// they hold answers to.
pub fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let fields: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "properties": fields,
        "required": names,
        "additionalProperties": false,
    })
}

/// So many things.
pub fn list(count: usize, of: &Value) -> Value {
    json!({ "type": "array", "items": of, "minItems": count, "maxItems": count })
}

/// A number from 1 to `count`.
pub fn number_to(count: usize) -> Value {
    json!({ "type": "integer", "enum": (1..=count).collect::<Vec<usize>>() })
}

/// One of some words.
pub fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// Numbered entries, as many as were asked for: `{name: [{"id": 1, …}]}`.
pub fn entries(name: &str, count: usize, fields: &[(&str, Value)]) -> Value {
    let id = ("id", number_to(count));
    let entry = object(&[&[id], fields].concat());
    object(&[(name, list(count, &entry))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_asks_for_every_field_and_no_other() {
        let schema = entries("scores", 2, &[("score", json!({ "type": "number" }))]);
        let entry = &schema["properties"]["scores"]["items"];
        assert_eq!(schema["required"], json!(["scores"]));
        assert_eq!(schema["properties"]["scores"]["minItems"], 2);
        assert_eq!(entry["required"], json!(["id", "score"]));
        assert_eq!(entry["properties"]["id"]["enum"], json!([1, 2]));
        assert_eq!(entry["additionalProperties"], false);
        assert_eq!(one_of(&["stop"])["enum"], json!(["stop"]));
    }
}
