//! Other people's formats, turned into the Parquet files that [`super::input`] reads.
//!
//! `to/interactions/part-NNNN.parquet` has the columns `user`, `item`, `time` and `weight` (1 where
//! the format has none); `to/items.parquet` and `to/users.parquet` have a key column (`item`,
//! `user`) and whatever else is known; `to/rejected.parquet` has every line that could not be used,
//! with its file, number and reason. Everything is streamed.
//!
//! A bad line is rejected and counted. A file without one good line is not what the request says it
//! is, and stops the import.

mod amazon;
mod clean;
mod delimited;
mod files;
mod lines;
mod movielens;
mod python;
mod records;
mod sequences;
mod write;

use crate::error::{Error, Result};
use crate::store::input::KeyType;
use std::fmt;
use std::path::{Path, PathBuf};
use write::Sink;

/// Where interactions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `ratings.dat`, `movies.dat` and `users.dat` with `::` between the fields.
    MovieLens,
    /// RecBole's atomic files: tabs, and a header of `name:type`.
    RecBole,
    /// Reviews and metadata, one JSON object (or Python dict, as in 2014) a line, plain or gzipped.
    Amazon,
    /// A header, then one row a line: tabs for `.tsv`, `.tab` and `.txt`, commas otherwise. A file
    /// with the user and the item column is one of interactions; with one of them, a table of items
    /// or users.
    Csv,
    /// `user item item …` or `user item`, with white space between; the order in the file is the
    /// time.
    Sequences,
}

/// What to import.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportRequest {
    /// What the files are.
    pub format: Format,
    /// Files, or folders with files whose names are usual for the format.
    pub from: Vec<PathBuf>,
    /// A folder without interactions in it; made if need be.
    pub to: PathBuf,
    /// What ids are: `None` stands for integers in MovieLens and strings elsewhere.
    pub keys: Option<KeyType>,
    /// What the columns are called in RecBole and CSV files.
    pub names: ColumnNames,
}

/// Names of columns. A name that is not given is the usual one, and for time and weight need not be
/// there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnNames {
    /// Usually `user_id`.
    pub user: Option<String>,
    /// Usually `item_id`.
    pub item: Option<String>,
    /// Usually `timestamp`: a number, or a date as ISO 8601 has it. Without it, the order in the
    /// file.
    pub time: Option<String>,
    /// Usually `rating`.
    pub weight: Option<String>,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportReport {
    /// Rows written.
    pub interactions: u64,
    /// Rows written.
    pub items: u64,
    /// Rows written.
    pub users: u64,
    /// Lines that could not be used.
    pub rejected: u64,
    /// The first rejected line: file, line and reason.
    pub first_rejected: Option<String>,
    /// The files written.
    pub files: Vec<PathBuf>,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImportReport { interactions, items, users, rejected, .. } = self;
        write!(f, "{interactions} interactions, {items} items, {users} users")?;
        match &self.first_rejected {
            Some(first) => write!(f, "; {rejected} lines rejected, the first: {first}"),
            None => Ok(()),
        }
    }
}

/// Imports files; see the module.
///
/// # Errors
/// [`Error::Input`] with file and line for a file that is empty, damaged, or not of the format, and
/// where the target has interactions already; [`Error::Io`] where a file cannot be read or written.
pub fn import(request: &ImportRequest) -> Result<ImportReport> {
    let files = files(request)?;
    let usual = match request.format {
        Format::MovieLens => KeyType::Int,
        _ => KeyType::Text,
    };
    let mut sink = Sink::create(&request.to, request.keys.unwrap_or(usual))?;
    for file in &files {
        match request.format {
            Format::MovieLens => movielens::read(file, &mut sink),
            Format::RecBole | Format::Csv => delimited::read(file, request, &mut sink),
            Format::Amazon => amazon::read(file, &mut sink),
            Format::Sequences => sequences::read(file, &mut sink),
        }?;
    }
    sink.finish()
}

/// The files of a request: as named, and from folders those with the format's usual names, sorted.
fn files(request: &ImportRequest) -> Result<Vec<PathBuf>> {
    let usual: &[&str] = match request.format {
        Format::MovieLens => &["ratings.dat", "movies.dat", "users.dat"],
        Format::RecBole => &[".inter", ".item", ".user"],
        Format::Amazon => &[".json", ".json.gz", ".jsonl", ".jsonl.gz"],
        Format::Csv => &[".csv", ".csv.gz", ".tsv", ".tsv.gz"],
        Format::Sequences => &[".txt", ".txt.gz"],
    };
    let mut files = Vec::new();
    for from in &request.from {
        if !from.is_dir() {
            files.push(from.clone());
            continue;
        }
        let before = files.len();
        for entry in from.read_dir().map_err(Error::io("list", from))? {
            let path = entry.map_err(Error::io("list", from))?.path();
            if path.is_file() && usual.iter().any(|end| name(&path).ends_with(end)) {
                files.push(path);
            }
        }
        files[before..].sort();
        if files.len() == before {
            let what = format!("expected a file whose name ends with one of {usual:?}, found none");
            return Err(Error::Input(format!("{}: {what}", from.display())));
        }
    }
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
