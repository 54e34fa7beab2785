//! What configuration files of models say, read field by field, all problems at once.

use serde_json::{Map, Value};

/// The values of an object, and what is wrong with them.
pub(super) struct Fields<'a> {
    /// The object.
    pub map: &'a Map<String, Value>,
    /// The object's own key.
    pub prefix: &'static str,
    /// So far.
    pub problems: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Adds a problem.
    pub fn tell(&mut self, problem: impl std::fmt::Display) {
        let dot = if self.prefix.is_empty() { "" } else { "." };
        self.problems.push(format!("{}{dot}{problem}", self.prefix));
    }

    /// A value as `read` understands it; `default` when it is not there or null.
    fn value<T>(
        &mut self,
        key: &str,
        default: Option<T>,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        match self.map.get(key) {
            None | Some(Value::Null) if default.is_some() => default,
            None | Some(Value::Null) => {
                self.tell(format!("{key}: missing: expected {expected}"));
                None
            }
            Some(value) => {
                let read = read(value);
                if read.is_none() {
                    self.tell(format!("{key} = {}: expected {expected}", short(value)));
                }
                read
            }
        }
    }

    /// A count from 1 to `max`; 1 when there is a problem.
    pub fn count(&mut self, key: &str, default: Option<usize>, max: usize) -> usize {
        let expected = format!("a whole number from 1 to {max}");
        let read = |value: &Value| {
            let count = usize::try_from(value.as_u64()?).ok()?;
            (1..=max).contains(&count).then_some(count)
        };
        self.value(key, default, &expected, read).unwrap_or(1)
    }

    /// A positive number; 1 when there is a problem.
    pub fn number(&mut self, key: &str, default: Option<f64>) -> f64 {
        let read = |value: &Value| value.as_f64().filter(|x| *x > 0.0 && x.is_finite());
        self.value(key, default, "a positive number", read).unwrap_or(1.0)
    }

    /// True or false; the default when there is a problem.
    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        self.value(key, Some(default), "true or false", Value::as_bool).unwrap_or(default)
    }

    /// A string; the default when there is a problem.
    pub fn word(&mut self, key: &str, default: &'a str) -> &'a str {
        self.value(key, Some(default), "a string", Value::as_str).unwrap_or(default)
    }
}

/// A value as JSON, cut off where it is long.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
