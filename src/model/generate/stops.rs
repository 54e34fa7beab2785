//! The tokens that end an answer, as a model's folder says.

use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// The `eos_token_id` of a folder's `generation_config.json`, or else of its `config.json`: one,
/// several, or none at all.
///
/// Errors: [`Error::Io`] for a file that cannot be read, [`Error::Model`] for one that is not JSON,
/// or whose `eos_token_id` is no token.
pub fn stops(folder: &Path) -> Result<Vec<u32>> {
    for name in ["generation_config.json", "config.json"] {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let what = path.display();
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let config: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Model(format!("{what}: not JSON: {e}")))?;
        let found = tokens(&config["eos_token_id"]).ok_or_else(|| {
            let found = &config["eos_token_id"];
            Error::Model(format!("{what}: eos_token_id = {found}: expected a token, or a list"))
        })?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn tokens(value: &Value) -> Option<Vec<u32>> {
    let token = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list.iter().map(token).collect(),
        one => Some(vec![token(one)?]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stop_tokens_are_those_of_the_generation_then_of_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(stops(folder.path()).unwrap(), [0; 0]);
        write("config.json", r#"{"eos_token_id": 2}"#);
        assert_eq!(stops(folder.path()).unwrap(), [2]);
        write("generation_config.json", r#"{"eos_token_id": null}"#);
        assert_eq!(stops(folder.path()).unwrap(), [2]);
        write("generation_config.json", r#"{"eos_token_id": [7, 9]}"#);
        assert_eq!(stops(folder.path()).unwrap(), [7, 9]);
        for (text, expected) in [
            (r#"{"eos_token_id": -1}"#, "eos_token_id = -1: expected a token, or a list"),
            (r#"{"eos_token_id": [1, "a"]}"#, r#"eos_token_id = [1,"a"]: expected a token"#),
            ("{", "not JSON"),
        ] {
            write("generation_config.json", text);
            let said = stops(folder.path()).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
