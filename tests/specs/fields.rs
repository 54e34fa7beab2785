//! `jobs/README.md`: every field of every kind of job, out of the documentation in `src/spec`.
//! `UPDATE_DOCS=1 cargo test specs` writes it; otherwise it is compared.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const INTRODUCTION: &str = "\
# Job files

Made from the documentation in `src/spec` by `UPDATE_DOCS=1 cargo test specs`; edits here are lost.

`steerage check JOB` reads a job file and those that it reads from, and reports every mistake in them,
`steerage plan JOB` shows what it would do, and `steerage run JOB` does it, and first what it reads
from. `run:PATH` stands for the run of the job file `PATH.toml`, beside this one. Any field can be set from the command line:
`--set retrieve.k=50`. `${name}` in a text is the variable `name` of the table `[vars]`:
`--set vars.data=/mnt/data`. Of the overrides, those of `vars` and `run` hold for what a job reads
from, too.

`demo.toml` needs nothing but itself. The folders are for public data; each begins with the format of
its files, where they come from and what one may do with them.

Every job has a `kind`, the heading of a section below, and a `name`, which its run directory is
called after: letters, digits, `-`, `_` and `.`.

";

const RERANK: &[&str] = &[
    "rerank.rs",
    "controls.rs",
    "requests.rs",
    "step.rs",
    "node_graph.rs",
    "guide.rs",
    "sweep.rs",
];

const SECTIONS: [(&str, &[&str]); 10] = [
    ("Every kind", &["mod.rs"]),
    ("`kind = \"prepare\"`", &["prepare.rs"]),
    ("`kind = \"train-retriever\"`", &["train_retriever.rs"]),
    ("`kind = \"train-reranker\"`", &["train_reranker.rs"]),
    ("`kind = \"label\"`", &["label.rs", "teacher.rs", "texts.rs"]),
    ("`kind = \"train-encoder\"`", &["train_encoder.rs"]),
    ("`kind = \"embed\"`", &["embed.rs"]),
    ("`kind = \"rerank\"`", RERANK),
    ("`kind = \"reachability\"`", &["reachability.rs"]),
    ("What kinds share", &["precision.rs"]),
];

/// Types that a job file does not see.
const INTERNAL: [&str; 5] = ["Job", "Kind", "Needed", "Point", "SweptArm"];

#[test]
fn the_readme_of_jobs_says_every_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut made = INTRODUCTION.to_owned();
    for (title, files) in SECTIONS {
        write!(made, "## {title}\n\n").unwrap();
        for file in files {
            let text = std::fs::read_to_string(root.join("src/spec").join(file)).unwrap();
            made.push_str(&section(&text));
        }
    }
    let made = format!("{}\n", linked(&made).trim_end());
    let path = root.join("jobs/README.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, made, "run `UPDATE_DOCS=1 cargo test specs` and look at the difference");
}

/// Without links to types that are told of elsewhere.
fn linked(made: &str) -> String {
    let links = made.split("](#").skip(1).filter_map(|after| after.split(')').next());
    let away = links.filter(|link| !made.contains(&format!("<a id=\"{link}\">")));
    let away: BTreeSet<&str> = away.collect();
    away.into_iter()
        .fold(made.to_owned(), |made, name| made.replace(&format!("[{name}](#{name})"), name))
}

/// The tables of one file.
fn section(text: &str) -> String {
    let mut out = String::new();
    let mut item: Option<Item> = None;
    let (mut doc, mut rename) = (String::new(), None);
    for line in text.lines() {
        // A comment at the end of a line is none of its type.
        let inner = line.split_once(" // ").map_or(line, |(field, _)| field).trim();
        if let Some(comment) = inner.strip_prefix("///") {
            let gap = if doc.is_empty() { "" } else { " " };
            doc = format!("{doc}{gap}{}", comment.trim());
            continue;
        }
        if inner.starts_with("//") {
            continue;
        }
        if inner.starts_with("#[") {
            if let Some((_, name)) = inner.split_once("rename = \"") {
                rename = name.split('"').next().map(str::to_owned);
            }
            continue;
        }
        if let Some(name) = opened(line) {
            item = Some(Item { shown: !INTERNAL.contains(&name), choice: line.contains("enum") });
            if !INTERNAL.contains(&name) {
                write!(out, "{}", heading(&doc, line.contains("enum"), name)).unwrap();
            }
        } else if line == "}" {
            if item.take().is_some_and(|item| item.shown) {
                out.push('\n');
            }
        } else if let Some(item) = item.as_ref().filter(|item| item.shown) {
            let name = rename.take();
            out.push_str(&row(item, inner, name, &doc));
        }
        doc.clear();
    }
    out
}

struct Item {
    shown: bool,
    choice: bool,
}

fn opened(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))?;
    rest.strip_suffix(" {")
}

fn heading(doc: &str, choice: bool, name: &str) -> String {
    let title = if doc == "The job as written." { "At the top" } else { doc.trim_end_matches('.') };
    let columns = if choice { "choice | type" } else { "field | type" };
    format!("### {title}\n\n<a id=\"{}\"></a>\n\n| {columns} | meaning |\n|---|---|---|\n", name)
}

/// A field, a choice, or a field of a choice.
fn row(item: &Item, line: &str, rename: Option<String>, doc: &str) -> String {
    if doc.is_empty() {
        return String::new();
    }
    let doc = doc.replace('|', "\\|");
    let line = line.strip_prefix("pub ").unwrap_or(line).trim_end_matches(',');
    match line.split_once(": ") {
        Some((field, kind)) => {
            let name = rename.unwrap_or(field.to_owned());
            let name = if item.choice { format!("… `{name}`") } else { format!("`{name}`") };
            format!("| {name} | {} | {doc} |\n", type_name(kind))
        }
        None => {
            let end = line.find([' ', '(']).unwrap_or(line.len());
            let name = rename.unwrap_or_else(|| kebab(&line[..end]));
            let inner = line[end..].strip_prefix('(').map(|kind| kind.trim_end_matches(')'));
            format!("| `\"{name}\"` | {} | {doc} |\n", inner.map_or(String::new(), type_name))
        }
    }
}

fn type_name(kind: &str) -> String {
    let within = |start: &str| kind.strip_prefix(start).and_then(|kind| kind.strip_suffix('>'));
    if let Some(kind) = within("Option<") {
        return format!("{}, optional", type_name(kind));
    }
    if let Some(kind) = within("Vec<") {
        return format!("list of {}", type_name(kind));
    }
    if kind.starts_with("BTreeMap<") {
        return "tables by name".to_owned();
    }
    match kind {
        "String" | "PathBuf" => "text".to_owned(),
        "bool" => "true or false".to_owned(),
        "f32" | "f64" => "number".to_owned(),
        "u32" | "u64" | "usize" | "i64" => "integer".to_owned(),
        "Relation" | "DeviceSpec" => "text".to_owned(),
        "RuleSpec" => "[AskedSpec](#AskedSpec)".to_owned(),
        name => format!("[{name}](#{name})"),
    }
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && at > 0 {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
