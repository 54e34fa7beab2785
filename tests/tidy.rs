//! Is the style kept? Executes the architecture's floors, doors and limits over the source as text.

mod samples;
mod tokens;

use std::path::{Path, PathBuf};
use tokens::{Token, end_of, tokens, without_tests};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 400;

/// Each module's floor: it may name those below it and itself, and none beside it.
const FLOORS: [(&str, u8); 20] = [
    ("main", 8),
    ("cli", 8), // the binary's own modules
    ("progress", 8),
    ("lib", 8),
    ("commands", 7),
    ("report", 6),
    ("flow", 5),
    ("engine", 4),
    ("stage", 3),
    ("train", 3),
    ("plan", 2),
    ("model", 2),
    ("metric", 2), // its bootstrap runs with the vectors that `device` finds
    ("spec", 1),
    ("control", 1),
    ("store", 1),
    ("remote", 1),
    ("device", 1),
    ("types", 0),
    ("error", 0),
];

/// One dependency, one door: which modules may name a package.
const DOORS: [(&str, &[&str]); 17] = [
    ("timely", &["flow"]),
    ("differential_dataflow", &["flow"]),
    ("arrow", &["store"]),
    ("parquet", &["store"]),
    ("object_store", &["store"]),
    ("futures_executor", &["store"]),
    ("toml", &["spec"]),
    ("safetensors", &["model"]),
    ("tokenizers", &["model"]), // in one file: tokenizer.rs
    ("ureq", &["remote"]),
    ("memmap2", &["device"]),
    ("cudarc", &["device"]),
    ("gemm", &["device"]),
    ("rayon", &["device"]),
    ("minijinja", &["report", "stage"]),
    ("clap", &["main", "cli"]),
    ("indicatif", &["progress"]),
];

/// Who may name `testing`, besides tests, benches and itself. Add a file's module with its reason.
const TESTING_USERS: [&str; 1] = [
    "commands", // `demo-data` and the demo's job write the made-up shop
];

struct Source<'a> {
    path: &'a str,
    text: &'a str,
    tokens: Vec<Token<'a>>,
}

impl<'a> Source<'a> {
    fn new(path: &'a str, text: &'a str) -> Source<'a> {
        let tokens = tokens(text);
        let tokens = if path.starts_with("src/") { without_tests(&tokens) } else { tokens };
        Source { path, text, tokens }
    }

    /// The module path: `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`. Empty outside src.
    fn module(&self) -> Vec<&'a str> {
        let Some(inner) = self.path.strip_prefix("src/") else { return Vec::new() };
        let inner = inner.trim_end_matches(".rs").trim_end_matches("/mod");
        inner.split('/').collect()
    }

    /// The lines where these tokens follow each other.
    fn lines_of(&self, pattern: &[&str]) -> Vec<usize> {
        let same = |window: &&[Token]| window.iter().zip(pattern).all(|(t, p)| t.1 == *p);
        self.tokens.windows(pattern.len()).filter(same).map(|window| window[0].0).collect()
    }

    /// All that is wrong with the file: `path:line: rule`.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut tell = |line: usize, rule: String| {
            faults.push(format!("{}:{line}: {rule}", self.path));
        };
        layout(self, &mut tell);
        if let Some(&top) = self.module().first() {
            words(self, top, &mut tell);
            floors(self, top, &mut tell);
            doors(self, top, &mut tell);
        }
        unsafe_code(self, &mut tell);
        faults
    }
}

fn layout(source: &Source, tell: &mut impl FnMut(usize, String)) {
    if !source.path.starts_with("tests/") {
        limits(source, tell);
    }
    if !source.text.trim().is_empty() && !source.text.starts_with("//!") {
        tell(1, "a file begins with `//!` and what it owns".into());
    }
    for line in source.lines_of(&["#", "[", "ignore", "]"]) {
        tell(line, "an ignored test says why".into());
    }
}

/// Not for tests: golden texts and tables of cases are as long as what they show.
fn limits(source: &Source, tell: &mut impl FnMut(usize, String)) {
    sizes(source.text, tell);
    functions(source, tell);
}

fn sizes(text: &str, tell: &mut impl FnMut(usize, String)) {
    for (line, text) in (1..).zip(text.lines()) {
        let columns = text.chars().count();
        if columns > COLUMNS_MAX {
            tell(line, format!("at most {COLUMNS_MAX} columns, found {columns}"));
        }
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        tell(lines, format!("at most {FILE_LINES_MAX} lines a file, found {lines}"));
    }
}

fn functions(source: &Source, tell: &mut impl FnMut(usize, String)) {
    let tokens = &source.tokens;
    for (at, pair) in tokens.windows(2).enumerate() {
        // `fn` before a name: not a pointer's type.
        if pair[0].1 != "fn" || !pair[1].1.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        let lines = end_of(tokens, at) - pair[0].0 + 1;
        if lines > FUNCTION_LINES_MAX {
            let rule = format!("at most {FUNCTION_LINES_MAX} lines a function, found {lines}");
            tell(pair[0].0, rule);
        }
    }
}

fn words(source: &Source, top: &str, tell: &mut impl FnMut(usize, String)) {
    for line in source.lines_of(&[".", "unwrap", "(", ")"]) {
        tell(line, "no `.unwrap()`: return the error, or `expect` why there is none".into());
    }
    for name in ["todo", "unimplemented", "dbg"] {
        for line in source.lines_of(&[name, "!"]) {
            tell(line, format!("no `{name}!`"));
        }
    }
    for name in ["print", "println", "eprint", "eprintln"] {
        for line in source.lines_of(&[name, "!"]).into_iter().filter(|_| top != "testing") {
            tell(line, format!("no `{name}!`, which panics where nobody reads: `say` or `tell`"));
        }
    }
}

fn floors(source: &Source, top: &str, tell: &mut impl FnMut(usize, String)) {
    let floor_of = |module: &str| FLOORS.iter().find(|(name, _)| *name == module).map(|f| f.1);
    if top == "testing" {
        return; // stands beside the house
    }
    let Some(own) = floor_of(top) else {
        return tell(1, format!("module `{top}` is on no floor: give it one in tests/tidy.rs"));
    };
    for (line, named) in named_modules(source) {
        match floor_of(named) {
            _ if named == top => {}
            None if named != "testing" => {}
            None if TESTING_USERS.contains(&top) => {}
            None => tell(line, format!("`{top}` may not name `testing`")),
            Some(8) => {} // the binary's modules know each other; the library cannot name them
            Some(floor) if floor < own => {}
            Some(floor) => {
                tell(line, format!("`{top}` (floor {own}) may not name `{named}` (floor {floor})"));
            }
        }
    }
}

/// The root modules that a file names: after `crate::`, `steerage::`, or enough `super::`.
fn named_modules<'a>(source: &Source<'a>) -> Vec<Token<'a>> {
    let (tokens, depth) = (&source.tokens, source.module().len());
    let text = |at: usize| tokens.get(at).map_or("", |token| token.1);
    let path_sign = |at: usize| text(at) == ":" && text(at + 1) == ":";
    let mut named = Vec::new();
    for start in 0..tokens.len() {
        let (first, before) = (text(start), start.checked_sub(1).map_or("", text));
        let mut at = start + 3;
        match first {
            "crate" | "steerage" if path_sign(start + 1) => {}
            "super" if before != ":" => {
                let mut supers = 1;
                while text(at) == "super" && path_sign(at - 2) {
                    (at, supers) = (at + 3, supers + 1);
                }
                if supers < depth || !path_sign(at - 2) {
                    continue;
                }
            }
            _ => continue,
        }
        if text(at) != "{" {
            named.extend(tokens.get(at));
            continue;
        }
        // `{a::b, c}`: what opens the group, and what follows its own commas.
        let mut level = 0;
        for at in at..tokens.len() {
            level += i32::from(text(at) == "{") - i32::from(text(at) == "}");
            if level == 0 {
                break;
            }
            if level == 1 && (text(at) == "{" || text(at) == ",") {
                named.extend(tokens.get(at + 1));
            }
        }
    }
    named
}

fn doors(source: &Source, top: &str, tell: &mut impl FnMut(usize, String)) {
    if top == "testing" {
        return; // a faulty store is an object store
    }
    for (package, doors) in DOORS.iter().filter(|(_, doors)| !doors.contains(&top)) {
        for (at, &(line, word)) in source.tokens.iter().enumerate() {
            let text = |at: Option<usize>| at.map_or("", |at| source.tokens[at].1);
            let (before, owner) = (text(at.checked_sub(1)), text(at.checked_sub(3)));
            let segment = before == "." || before == ":" && owner != "use"; // `other::package`
            let after = source.tokens[at + 1..].iter().map(|token| token.1).take(2);
            let path = after.eq([":", ":"]);
            if word == *package && !segment && (path || before == "use") {
                tell(line, format!("`{package}` only behind its door {doors:?}"));
            }
        }
    }
}

fn unsafe_code(source: &Source, tell: &mut impl FnMut(usize, String)) {
    let lines: Vec<&str> = source.text.lines().collect();
    for (at, &(line, _)) in source.tokens.iter().enumerate().filter(|(_, t)| t.1 == "unsafe") {
        if !source.path.starts_with("src/device/") {
            tell(line, "`unsafe` only under src/device".into());
            continue;
        }
        if source.lines_of(&["#", "!", "[", "allow", "(", "unsafe_code", ")", "]"]).is_empty() {
            tell(line, "a file with `unsafe` says `#![allow(unsafe_code)]`".into());
        }
        let argued = lines[line.saturating_sub(9)..line].iter().any(|l| l.contains("SAFETY:"));
        let block = matches!(source.tokens.get(at + 1), Some((_, "{" | "impl")));
        if block && !argued {
            tell(line, "an `unsafe` block is preceded by its `// SAFETY:` argument".into());
        }
    }
}

fn files(folder: &Path, kinds: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files(&path, kinds, found);
        } else if path.extension().is_some_and(|kind| kinds.iter().any(|k| kind == *k)) {
            found.push(path);
        }
    }
    found.sort();
}

/// What is wrong with a file of `kernels/`, by line.
fn kernel_faults(text: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let mut tell = |line: usize, rule: String| faults.push((line, rule));
    sizes(text, &mut tell);
    if !text.starts_with("// ") {
        tell(1, "a file begins with `//` and what it computes".into());
    }
    faults
}

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut rust, mut kernels) = (Vec::new(), Vec::new());
    for folder in ["src", "tests", "benches"] {
        files(&root.join(folder), &["rs"], &mut rust);
    }
    files(&root.join("kernels"), &["cu", "cuh", "h", "cpp"], &mut kernels);
    let enough = rust.len() > 30 && kernels.len() > 5;
    assert!(enough, "expected the whole tree, found {} and {}", rust.len(), kernels.len());
    let name = |file: &Path| file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    let mut faults = Vec::new();
    for file in &rust {
        let text = std::fs::read_to_string(file).unwrap();
        faults.extend(Source::new(&name(file), &text).faults());
    }
    for file in &kernels {
        let found = kernel_faults(&std::fs::read_to_string(file).unwrap());
        faults.extend(found.iter().map(|(line, rule)| format!("{}:{line}: {rule}", name(file))));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
