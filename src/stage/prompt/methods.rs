//! What chat templates do with strings and maps as if they were Python's, on letters that say
//! whether they are data.

use super::letters::Letters;
use minijinja::value::{ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// Adds methods, and filters that would see marks.
pub fn add(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(call);
    environment.add_filter("trim", |text: &str, gone: Option<&str>| strip(text, [true; 2], gone));
    environment.add_filter("replace", replace);
    environment.add_filter("length", |value: &Value| match value.as_str() {
        Some(text) => Some(Letters::of(text).count()),
        None => value.len(),
    });
}

fn strip(text: &str, ends: [bool; 2], gone: Option<&str>) -> String {
    let gone = |letter: char| gone.map_or(letter.is_whitespace(), |gone| gone.contains(letter));
    Letters::of(text).strip(ends, gone).marked()
}

fn replace(text: &str, from: &str, to: &str) -> String {
    let parts = Letters::of(text).split(&Letters::of(from), usize::MAX);
    Letters::joined(&parts, &Letters::of(to)).marked()
}

fn split(text: &str, at: Option<&str>, cuts_max: Option<usize>) -> Vec<String> {
    let letters = Letters::of(text);
    let cuts_max = cuts_max.unwrap_or(usize::MAX);
    let parts = match at {
        Some(at) => letters.split(&Letters::of(at), cuts_max),
        None => letters.words(),
    };
    parts.iter().map(Letters::marked).collect()
}

fn call(
    _: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let unknown = || Err(Error::from(ErrorKind::UnknownMethod));
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => match method {
            "strip" | "lstrip" | "rstrip" => {
                let (gone,): (Option<&str>,) = from_args(args)?;
                Ok(strip(text, [method != "rstrip", method != "lstrip"], gone).into())
            }
            "split" => {
                let (at, cuts_max): (Option<&str>, Option<usize>) = from_args(args)?;
                Ok(split(text, at, cuts_max).into())
            }
            "startswith" | "endswith" => {
                let (with,): (&str,) = from_args(args)?;
                let (text, with) = (Letters::of(text), Letters::of(with));
                let start = method == "startswith";
                Ok(if start { text.starts_with(&with) } else { text.ends_with(&with) }.into())
            }
            "replace" => {
                let (from, to): (&str, &str) = from_args(args)?;
                Ok(replace(text, from, to).into())
            }
            "upper" => Ok(text.to_uppercase().into()),
            "lower" => Ok(text.to_lowercase().into()),
            _ => unknown(),
        },
        (ValueKind::Map, _) => match method {
            "get" => {
                let (key, other): (&Value, Option<Value>) = from_args(args)?;
                let found = value.get_item(key)?;
                Ok(if found.is_undefined() { other.unwrap_or(().into()) } else { found })
            }
            "keys" => Ok(value.try_iter()?.collect()),
            "items" => {
                let pair = |key: Value| Ok(Value::from(vec![key.clone(), value.get_item(&key)?]));
                value.try_iter()?.map(pair).collect::<Result<Vec<Value>, Error>>().map(Value::from)
            }
            _ => unknown(),
        },
        _ => unknown(),
    }
}
