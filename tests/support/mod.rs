//! A small shop in a folder of its own, its jobs, and the program that runs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use steerage::model::decoder::{Decoder, DecoderConfig, Rope};
use steerage::store::part;
use steerage::store::part::faults::DeadLetter;
use steerage::store::part::lists::ListRow;
use steerage::store::tables::{Values, encode};
use tempfile::TempDir;

/// Where the program works: its jobs lie in the folder, its runs under `runs`.
pub struct Shop {
    folder: TempDir,
}

/// How a call of the program ended.
pub struct Said {
    /// The exit code; none when it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Shop {
    /// An empty folder.
    pub fn empty() -> Shop {
        Shop { folder: tempfile::tempdir().unwrap() }
    }

    /// The demo's jobs as `prepare.toml`, `retriever.toml` and `demo.toml`, at a size at which all
    /// of them take less than a second, and with many epochs. Its decoder and its encoder are
    /// left out: they would have to be trained; `tests/rerankers.rs` and `tests/encoders.rs` have
    /// shops with one.
    pub fn demo() -> Shop {
        let shop = Shop::empty();
        let prepare = include_str!("../../jobs/demo/prepare.toml");
        let few = [
            ("demo-prepare", "prepare"),
            ("users = 4000", "users = 300"),
            ("items = 2000", "items = 200"),
            ("interactions_mean = 25", "interactions_mean = 12"),
            ("epoch_rows = 30000", "epoch_rows = 600"),
        ];
        shop.write("prepare.toml", changed(prepare, &few));
        let retriever = include_str!("../../jobs/demo/retriever.toml");
        let tiny = [
            ("demo-retriever", "retriever"),
            ("hidden = 32", "hidden = 8"),
            ("epochs_max = 12", "epochs_max = 1"),
        ];
        shop.write("retriever.toml", changed(retriever, &tiny));
        let rerank = include_str!("../../jobs/demo.toml");
        let short = [
            ("run:demo/", "run:"),
            ("k = 100", "k = 40"),
            ("replicates = 200", "replicates = 10"),
            ("epoch_tasks = 4", "epoch_tasks = 1"),
        ];
        let arm = rerank.find("[[arm]] # the best ten again").unwrap();
        let end = rerank.find("[metrics]").unwrap();
        let rerank = [&rerank[..arm], &rerank[end..]].concat();
        let said = rerank.find("[requests]").unwrap();
        let first = rerank.find("[[arm]]").unwrap();
        let rerank = [&rerank[..said], &rerank[first..]].concat();
        shop.write("demo.toml", changed(&rerank, &short));
        shop
    }

    /// [`Shop::demo`] with a sweep.
    pub fn swept() -> Shop {
        let shop = Shop::demo();
        let sweep = "[sweep]\nk = [10, 40]\ncontrols = [1, 2]\ntheta = [1, 2]\n\n[output]";
        shop.change("demo.toml", &[("[output]", sweep)]);
        shop
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders it is in.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a folder with a small decoder of random weights and its `tokenizer.json`. Gives its
    /// dimensions.
    pub fn write_decoder(
        &self,
        folder: &str,
        tokenizer: &[u8],
        context_max: usize,
    ) -> DecoderConfig {
        let json: serde_json::Value = serde_json::from_slice(tokenizer).unwrap();
        let config = DecoderConfig {
            vocabulary: json["model"]["vocab"].as_object().unwrap().len(),
            hidden: 32,
            inner: 64,
            layers: 2,
            heads: 2,
            shared: 1,
            width: 16,
            context_max,
            epsilon: 1e-5,
            rope: Rope { theta: 10_000.0, scaling: None },
            tied: true,
            qkv_bias: false,
            output_bias: false,
        };
        for (name, bytes) in Decoder::random(config.clone(), 5).unwrap().to_files().unwrap() {
            self.write(&format!("{folder}/{name}"), bytes);
        }
        self.write(&format!("{folder}/tokenizer.json"), tokenizer);
        config
    }

    /// Changes the text of a file.
    pub fn change(&self, name: &str, changes: &[(&str, &str)]) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        self.write(name, changed(&text, changes));
    }

    /// Writes a Parquet file.
    pub fn table(&self, name: &str, columns: Vec<(&str, Values)>) {
        self.write(name, encode(columns, 1000).unwrap());
    }

    /// A call of the program in this folder.
    pub fn steerage(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steerage"));
        command.args(args).current_dir(self.folder.path());
        command.env("STEERAGE_SECRET", "sixteen letters at least");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Calls the program and waits.
    pub fn say(&self, args: &[&str]) -> Said {
        Said::of(self.steerage(args).output().unwrap())
    }

    /// `steerage run JOB …`, which must end well.
    pub fn run(&self, job: &str, more: &[&str]) -> Said {
        let said = self.say(&[&["run", job], more].concat());
        assert_eq!(said.code, Some(0), "run {job} {more:?}\n{}\n{}", said.out, said.err);
        said
    }

    /// The only run of a job under a root, as `runs/<job>-<hash>`.
    pub fn run_of(&self, root: &str, job: &str) -> String {
        let names = names(&self.path(root));
        let ours = |name: &&String| name.rsplit_once('-').is_some_and(|(of, _)| of == job);
        let found: Vec<&String> = names.iter().filter(ours).collect();
        assert_eq!(found.len(), 1, "runs of {job} among {names:?}");
        format!("{root}/{}", found[0])
    }

    /// Everything that runs under a root keep, by path: all but what is derived from it.
    pub fn objects(&self, root: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.path(root), &self.path(root), &mut found);
        found.retain(|path, _| kept(path));
        assert!(!found.is_empty(), "nothing under {root}");
        found
    }

    /// The commits of a run that are there.
    pub fn commits(&self, run: &str) -> Vec<String> {
        let mut names = names(&self.path(&format!("{run}/commits")));
        names.retain(|name| name.ends_with(".json"));
        names
    }

    /// All lists of a run, by user and arm.
    pub fn lists(&self, run: &str) -> Vec<ListRow> {
        self.decoded(run, "/parts/", |name, bytes| part::lists::decode(name, bytes.into()).unwrap())
    }

    /// All rows that a run gave up.
    pub fn dead_letters(&self, run: &str) -> Vec<DeadLetter> {
        self.decoded(run, "/faults/", |name, bytes| {
            part::faults::decode(name, bytes.into()).unwrap()
        })
    }

    fn decoded<T>(&self, run: &str, of: &str, decode: fn(&str, Vec<u8>) -> Vec<T>) -> Vec<T> {
        let (root, run) = run.rsplit_once('/').unwrap();
        let within = format!("{run}{of}");
        let parts = self.objects(root).into_iter().filter(|(path, _)| path.starts_with(&within));
        parts.flat_map(|(path, bytes)| decode(&path, bytes)).collect()
    }

    /// A run's report, as other programs read it.
    pub fn report(&self, run: &str) -> serde_json::Value {
        let text = fs::read_to_string(self.path(&format!("{run}/report.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Said {
    /// How a process ended.
    pub fn of(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The exit code and the last line on standard error, as golden texts have it: without the
    /// hashes in the names of runs, and in short lines.
    pub fn last(&self) -> String {
        let line = self.err.lines().last().unwrap_or_default();
        format!("exit {:?}\n{}", self.code, wrapped(&unhashed(line)))
    }
}

/// Whether a file is what the laws are about. The rest is derived from it, or was staged by a
/// process that was killed.
fn kept(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let derived = [
        "invocation.json",
        "metrics.parquet",
        "checkpoint.safetensors",
        "spent.json",
        ".hashes.json",
    ];
    !name.starts_with("report.") && !derived.contains(&name) && !name.contains('#')
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for name in names(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(key, fs::read(path).unwrap());
        }
    }
}

/// What is in a folder, ascending; nothing if there is none.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
    names.sort();
    names
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// Both hold the same objects; if not, the names of those that differ.
pub fn assert_same(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differ: Vec<_> =
        keys.into_iter().filter(|key| found.get(*key) != expected.get(*key)).collect();
    assert!(differ.is_empty(), "{what}: {} objects differ: {differ:?}", differ.len());
}

/// A text with some words replaced, all of which it has.
pub fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "expected {from:?} in\n{text}");
        text.replace(from, to)
    })
}

/// A text with `-HASH` for what makes the names of runs differ from version to version.
pub fn unhashed(text: &str) -> String {
    let mut parts = text.split('-');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let hash = digits == 8 && !part[8..].starts_with(|c: char| c.is_ascii_alphanumeric());
        shown += "-";
        shown += if hash { "HASH" } else { &part[..digits] };
        shown += &part[digits..];
    }
    shown
}

/// A long line as short ones, to be read in the source.
pub fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + word.len() < 80 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}
