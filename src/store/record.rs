//! What a run directory says about itself: the manifest, put once before any work, and one commit
//! for each finished epoch. Plain JSON whose bytes depend on nothing but the values: no times, no
//! host names, maps in the order of their keys.

use super::hash;
use crate::types::{Epoch, StageName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of everything under a run directory. A reader refuses another one.
pub const FORMAT_VERSION: u32 = 1;

const ALWAYS_JSON: &str = "records hold strings, numbers and maps with string keys: always JSON";

/// What a run is made from. Two runs with the same manifest are the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The version of the code: other code may give other bytes.
    pub code_version: String,
    /// The job's name; the run directory is named after it.
    pub job: String,
    /// The job's kind, as in the job file.
    pub kind: String,
    /// The checked job: everything that the bytes depend on, and nothing else (no worker counts).
    pub spec: serde_json::Value,
    /// BLAKE3 of `spec` as compact JSON, 64 hex digits.
    pub spec_hash: String,
    /// The files that are read, in the order they are read in.
    pub inputs: Vec<InputRef>,
    /// The runs that are read: the name in the job → the run directory.
    pub upstream: BTreeMap<String, String>,
}

/// One input file, by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRef {
    /// What the job calls it.
    pub name: String,
    /// BLAKE3 of its content, 64 hex digits.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
}

/// An object of the run directory that a commit vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRef {
    /// Its key, relative to the run directory.
    pub key: String,
    /// How many rows it holds.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its content, 64 hex digits.
    pub checksum: String,
}

/// One finished epoch. Without it the epoch is not there, whatever parts exist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Which.
    pub epoch: Epoch,
    /// The input shards of the epoch, by their number in the plan's listing, ascending.
    pub shards: Vec<u32>,
    /// What was made, ascending by key.
    pub parts: Vec<PartRef>,
    /// Rows that came in.
    pub rows_read: u64,
    /// Rows that came out, as the job counts them.
    pub rows_written: u64,
    /// Rows that did not, because something was wrong with them.
    pub rows_faulted: u64,
    /// `rows_faulted` by stage and kind of reason.
    pub faults: BTreeMap<StageName, BTreeMap<String, u64>>,
    /// The dead-letter file; `None` if nothing was wrong.
    pub fault_part: Option<PartRef>,
    /// What the job's kind adds: metric sums, the state of training. Integers where they are
    /// summed.
    pub payload: serde_json::Value,
}

impl Manifest {
    /// The manifest of a run with no inputs yet, by this version of the code.
    pub fn new(job: &str, kind: &str, spec: serde_json::Value) -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            job: job.to_owned(),
            kind: kind.to_owned(),
            spec_hash: hash::of_bytes(spec.to_string().as_bytes()),
            spec,
            inputs: Vec::new(),
            upstream: BTreeMap::new(),
        }
    }

    /// The name of the run's directory: `<job>-<8 hex digits of a hash over the whole manifest>`.
    pub fn dir(&self) -> String {
        format!("{}-{}", self.job, &hash::of_bytes(&to_lines(self))[..8])
    }

    /// The fields in which two manifests differ.
    pub(super) fn differences(&self, other: &Manifest) -> Vec<&'static str> {
        let fields = [
            ("format version", self.format_version == other.format_version),
            ("code version", self.code_version == other.code_version),
            ("job", self.job == other.job),
            ("kind", self.kind == other.kind),
            ("spec", self.spec == other.spec && self.spec_hash == other.spec_hash),
            ("inputs", self.inputs == other.inputs),
            ("upstream runs", self.upstream == other.upstream),
        ];
        fields.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

impl PartRef {
    /// Vouches for bytes that are to be put under a key.
    pub fn of(key: String, rows: u64, bytes: &[u8]) -> PartRef {
        PartRef { key, rows, bytes: bytes.len() as u64, checksum: hash::of_bytes(bytes) }
    }
}

impl Commit {
    /// Every object the commit vouches for.
    pub fn objects(&self) -> impl Iterator<Item = &PartRef> {
        self.parts.iter().chain(&self.fault_part)
    }

    /// The part of this key, if the epoch has it.
    pub fn part(&self, key: &str) -> Option<&PartRef> {
        let at = self.parts.binary_search_by(|part| part.key.as_str().cmp(key));
        at.ok().map(|at| &self.parts[at])
    }

    /// What is wrong with a commit found under the key of `epoch`, if anything.
    pub(super) fn problem(&self, epoch: Epoch) -> Option<String> {
        if self.epoch != epoch {
            return Some(format!("expected epoch {epoch}, found epoch {}", self.epoch));
        }
        if !self.parts.is_sorted_by(|a, b| a.key < b.key) {
            return Some("expected parts ascending by key".to_owned());
        }
        let home = format!("parts/epoch={epoch:06}");
        let stray = self.parts.iter().find(|part| {
            part.key.rsplit_once('/').is_none_or(|(folder, _)| folder != home)
                && part.key != exposure_key(epoch)
        });
        if let Some(part) = stray {
            return Some(format!("expected parts under {home}, found {}", part.key));
        }
        let counted: u64 = self.faults.values().flat_map(BTreeMap::values).sum();
        let listed = self.fault_part.as_ref().map_or(0, |part| part.rows);
        (counted != self.rows_faulted || listed != self.rows_faulted).then(|| {
            format!(
                "expected as many faults in each count, found {} in all, {counted} by stage and \
                 {listed} in the dead-letter file",
                self.rows_faulted
            )
        })
    }

    /// The shards of many commits, each once.
    pub fn shards_of<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> BTreeSet<u32> {
        commits.into_iter().flat_map(|commit| commit.shards.iter().copied()).collect()
    }
}

/// `parts/epoch=000017/part=03.parquet`: named by partition, so that it does not matter who wrote
/// it.
pub fn part_key(epoch: Epoch, partition: u32) -> String {
    format!("parts/epoch={epoch:06}/part={partition:02}.parquet")
}

/// `faults/epoch=000017.parquet`: the rows that could not be finished.
pub fn fault_key(epoch: Epoch) -> String {
    format!("faults/epoch={epoch:06}.parquet")
}

/// `exposure/epoch=000017.parquet`: how often each arm showed each item.
pub fn exposure_key(epoch: Epoch) -> String {
    format!("exposure/epoch={epoch:06}.parquet")
}

/// `commits/000017.json`: put after everything it vouches for.
pub fn commit_key(epoch: Epoch) -> String {
    format!("commits/{epoch:06}.json")
}

/// The epoch of a commit's key; `None` for anything else.
pub(super) fn epoch_of(key: &str) -> Option<Epoch> {
    let name = key.strip_prefix("commits/")?.strip_suffix(".json")?;
    let epoch = name.parse().ok()?;
    (commit_key(epoch) == key).then_some(epoch)
}

/// The bytes of a manifest: indented, because people read it, and ended by a line end.
pub(super) fn to_lines(manifest: &Manifest) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(manifest).expect(ALWAYS_JSON);
    json.push(b'\n');
    json
}

/// The bytes of a commit: one line, since indenting its thousands of sums would make it four times
/// as long.
pub(super) fn to_line(commit: &Commit) -> Vec<u8> {
    let mut json = serde_json::to_vec(commit).expect(ALWAYS_JSON);
    json.push(b'\n');
    json
}
