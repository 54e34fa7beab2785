//! From a file to a [`Job`]: TOML, `--set`, `${…}`, and every mistake at once.
//!
//! Serde stops at its first mistake. So a mistake is noted with its path, the value it is about is
//! taken out of the table, and the table is read again: each turn removes one value, so it ends.

use super::{
    EmbedSpec, Expect, Job, Kind, LabelSpec, PrepareSpec, Problems, ReachabilitySpec, RerankSpec,
    RunSpec, TrainEncoderSpec, TrainRerankerSpec, TrainRetrieverSpec,
};
use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

const KINDS: &str = "\"prepare\", \"train-retriever\", \"train-reranker\", \"label\", \
                     \"train-encoder\", \"embed\", \"rerank\" or \"reachability\"";

/// The fields of [`Header`]. Beside them there is `vars`, which is used up when it is read.
const HEADER: [&str; 4] = ["kind", "name", "run", "expect"];

/// Reads and checks a job file. `sets` are `key.path=value` overrides from the command line.
pub fn load(file: &Path, sets: &[String]) -> Result<Job> {
    let text = std::fs::read_to_string(file).map_err(Error::io("read the job file", file))?;
    parse(file, &text, sets)
}

fn parse(file: &Path, text: &str, sets: &[String]) -> Result<Job> {
    let refuse = |problems| Error::Spec { file: file.display().to_string(), problems };
    let mut table: Table =
        text.parse().map_err(|e: toml::de::Error| refuse(vec![e.to_string().trim().into()]))?;
    let mut problems = Problems::default();
    for set in sets {
        if let Err(problem) = override_value(&mut table, set) {
            problems.add("--set", problem);
        }
    }
    substitute_vars(&mut table, &mut problems);
    let job = read_job(file, table, &mut problems);
    match job {
        Some(job) if problems.0.is_empty() => Ok(job),
        _ => Err(refuse(problems.0)),
    }
}

/// The fields that every kind has.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Header {
    kind: String,
    name: String,
    run: RunSpec,
    expect: BTreeMap<String, Expect>,
}

fn read_job(file: &Path, mut table: Table, problems: &mut Problems) -> Option<Job> {
    let mut header = Table::new();
    for key in HEADER {
        header.extend(table.remove_entry(key));
    }
    let header: Header = read_section(header, problems);
    check_header(&header, problems);
    let kind = match header.kind.as_str() {
        "prepare" => Kind::Prepare(checked(table, problems, PrepareSpec::check)),
        "train-retriever" => {
            Kind::TrainRetriever(checked(table, problems, TrainRetrieverSpec::check))
        }
        "train-reranker" => Kind::TrainReranker(checked(table, problems, TrainRerankerSpec::check)),
        "label" => Kind::Label(checked(table, problems, LabelSpec::check)),
        "train-encoder" => Kind::TrainEncoder(checked(table, problems, TrainEncoderSpec::check)),
        "embed" => Kind::Embed(checked(table, problems, EmbedSpec::check)),
        "reachability" => Kind::Reachability(checked(table, problems, ReachabilitySpec::check)),
        "rerank" => Kind::Rerank(checked(table, problems, RerankSpec::check)),
        other => {
            problems.add("kind", format!("expected {KINDS}, found {other:?}"));
            return None;
        }
    };
    Some(Job { file: file.into(), name: header.name, kind, run: header.run, expect: header.expect })
}

/// Reads what a kind of job has of its own, and applies its rules.
fn checked<T: DeserializeOwned + Default>(
    table: Table,
    problems: &mut Problems,
    check: impl Fn(&T, &mut Problems),
) -> T {
    let spec: T = read_section(table, problems);
    check(&spec, problems);
    spec
}

fn check_header(header: &Header, problems: &mut Problems) {
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if header.name.is_empty() || !header.name.chars().all(letters) || header.name.len() > 80 {
        let name = &header.name;
        problems.add("name", format!("expected 1 to 80 of a-z A-Z 0-9 - _ ., found {name:?}"));
    }
    if header.run.root.as_os_str().is_empty() {
        problems.add("run.root", "expected a folder, found nothing");
    }
    problems.range("run.window_epochs", header.run.window_epochs, 1, 64);
    problems.range("run.workers", header.run.workers, 0, RunSpec::WORKERS_MAX.into());
    let stall = header.run.stall_seconds_max;
    problems.range("run.stall_seconds_max", stall, 1, RunSpec::SECONDS_MAX);
}

/// Reads a table, noting every mistake and leaving out the value it is about.
fn read_section<T: DeserializeOwned + Default>(table: Table, problems: &mut Problems) -> T {
    let mut value = Value::Table(table);
    loop {
        let mistake = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(section) => return section,
            Err(mistake) => mistake,
        };
        let keys: Vec<String> = mistake.path().iter().map(ToString::to_string).collect();
        let path = mistake.path().to_string();
        let what = mistake.into_inner().to_string();
        let mut what = what.lines().next().unwrap_or_default().to_owned();
        let (path, removed) = remove(&mut value, &keys, &what, path);
        if what.starts_with("unknown field") && !path.contains('.') {
            HEADER.iter().chain(&["vars"]).for_each(|name| what += &format!(", `{name}`"));
        }
        problems.add(path, what);
        if !removed {
            return T::default();
        }
    }
}

/// Takes the value at a path out of the tables (or, in a list, the list's element). An unknown
/// field is named by the message, its parent by the path.
fn remove(value: &mut Value, keys: &[String], what: &str, path: String) -> (String, bool) {
    if let Some(field) = what.strip_prefix("unknown field `").and_then(|w| w.split('`').next()) {
        let mut longer = keys.to_vec();
        if longer.last().is_none_or(|last| last != field) {
            longer.push(field.to_owned());
            if remove_at(value, &longer) {
                let path = if keys.is_empty() { field.into() } else { format!("{path}.{field}") };
                return (path, true);
            }
        }
    }
    let removed = (1..=keys.len()).rev().any(|depth| remove_at(value, &keys[..depth]));
    (path, removed)
}

fn remove_at(value: &mut Value, keys: &[String]) -> bool {
    let Some((last, parents)) = keys.split_last() else { return false };
    let mut at = value;
    for key in parents {
        let next = match at {
            Value::Table(table) => table.get_mut(key),
            Value::Array(list) => index(key).and_then(|i| list.get_mut(i)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match at {
        Value::Table(table) => table.remove(last).is_some(),
        Value::Array(list) => match index(last).filter(|i| *i < list.len()) {
            Some(i) => {
                list.remove(i);
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn index(key: &str) -> Option<usize> {
    key.trim_matches(['[', ']']).parse().ok()
}

/// `a.b=value`: the value is TOML, or a plain string when it is not. What begins like a number or a
/// quoted text and is none is a mistake, not a text.
fn override_value(table: &mut Table, set: &str) -> Result<(), String> {
    let (path, text) = set.split_once('=').ok_or(format!("expected key=value, found {set:?}"))?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = digits.starts_with(|c| matches!(c, '1'..='9'))
        && digits.chars().all(|c| c.is_ascii_digit() || c == '_');
    let value = match format!("v = {text}").parse::<Table>() {
        Ok(mut parsed) => parsed.remove("v").ok_or(format!("expected key=value, found {set:?}"))?,
        Err(why) if number || text.starts_with(['"', '\'']) => {
            return Err(format!("{set}: {}", why.message()));
        }
        Err(_) => Value::String(text.to_owned()),
    };
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or("the key is empty")?;
    let mut at = table;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or(format!("{path}: {key} is not a table"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// Replaces `${name}` in every text by `vars.name`.
fn substitute_vars(table: &mut Table, problems: &mut Problems) {
    let vars = match table.remove("vars") {
        Some(Value::Table(vars)) => vars,
        Some(_) => {
            problems.add("vars", "expected a table of texts");
            Table::new()
        }
        None => Table::new(),
    };
    for (key, value) in table.iter_mut() {
        substitute(value, key, &vars, problems);
    }
}

fn substitute(value: &mut Value, path: &str, vars: &Table, problems: &mut Problems) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                substitute(value, &format!("{path}.{key}"), vars, problems);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter_mut().enumerate() {
                substitute(value, &format!("{path}[{at}]"), vars, problems);
            }
        }
        Value::String(text) => match fill(text, vars) {
            Ok(filled) => *text = filled,
            Err(problem) => problems.add(path, problem),
        },
        _ => {}
    }
}

/// A text with its variables, or what is wrong with it.
fn fill(text: &str, vars: &Table) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            return Err(format!("expected a `}}` after `${{`, found {:?}", &rest[start..]));
        };
        let name = &rest[start + 2..start + length];
        let value = vars.get(name).and_then(Value::as_str).ok_or_else(|| {
            format!("${{{name}}} is not set: add `{name}` to [vars] or --set vars.{name}=…")
        })?;
        filled += &rest[..start];
        filled += value;
        rest = &rest[start + length + 1..];
    }
    Ok(filled + rest)
}
