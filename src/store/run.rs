//! The run directory: the only place that knows which objects a run has and when they may be
//! trusted.
//!
//! ```text
//! <job>-<hash>/manifest.json      put once, before any work
//! <job>-<hash>/parts/…            put once, named by epoch and partition
//! <job>-<hash>/faults/…           put once, one an epoch that had any
//! <job>-<hash>/exposure/…         put once, one an epoch of a rerank job
//! <job>-<hash>/commits/….json     put once, after everything of the epoch exists
//! ```

use super::record::{epoch_of, to_line, to_lines};
use super::{Commit, FORMAT_VERSION, Listed, Manifest, PartRef, Store, commit_key, hash};
use crate::error::{Error, Result};
use crate::types::Epoch;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const MANIFEST_KEY: &str = "manifest.json";

/// One run's directory in a store.
#[derive(Clone)]
pub struct RunDir {
    store: Store,
    name: String,
    manifest: Manifest,
}

impl RunDir {
    /// Opens the run's own directory, [`Manifest::dir`], and puts the manifest there if it is new.
    ///
    /// # Errors
    /// Those of [`RunDir::create_or_open_as`].
    pub fn create_or_open(store: &Store, manifest: Manifest) -> Result<RunDir> {
        let name = manifest.dir();
        RunDir::create_or_open_as(store, &name, manifest)
    }

    /// The run's own directory, which may not be there yet: nothing is read or written.
    pub fn at(store: &Store, manifest: Manifest) -> RunDir {
        RunDir { store: store.clone(), name: manifest.dir(), manifest }
    }

    /// Puts the manifest there if it is new.
    ///
    /// # Errors
    /// Those of [`RunDir::create_or_open_as`].
    pub fn create(&self) -> Result<()> {
        RunDir::create_or_open_as(&self.store, &self.name, self.manifest.clone()).map(drop)
    }

    /// Opens the directory `name` for the run, and puts the manifest there if it is new. Any number
    /// of processes may do so at once.
    ///
    /// # Errors
    /// [`Error::Input`] if the directory is another run's, or has a damaged manifest; those of
    /// [`Store::put_once`].
    pub fn create_or_open_as(store: &Store, name: &str, manifest: Manifest) -> Result<RunDir> {
        let run = RunDir { store: store.clone(), name: name.to_owned(), manifest };
        // Listed before it is read: whatever others put here, they put after their manifest.
        let occupied = !store.list(name)?.is_empty();
        if let Some(there) = read_manifest(store, name)? {
            return if there == run.manifest { Ok(run) } else { Err(run.foreign(&there)) };
        }
        if occupied {
            return Err(Error::Input(format!(
                "{}: holds files and no {MANIFEST_KEY}: not a run directory; use another \
                 `run.root`, or remove it if nobody needs it",
                run.path("").display()
            )));
        }
        match store.put_once(&run.key(MANIFEST_KEY), to_lines(&run.manifest)) {
            // Another run was faster.
            Err(Error::Conflict { .. }) => match read_manifest(store, name)? {
                Some(there) => Err(run.foreign(&there)),
                None => Err(run.missing()),
            },
            done => done.map(|()| run),
        }
    }

    /// Opens a directory that is there, to read it.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, or its manifest is damaged or of another format.
    pub fn open(store: &Store, name: &str) -> Result<RunDir> {
        let manifest = read_manifest(store, name)?.ok_or_else(|| {
            Error::Input(format!(
                "{}: expected a run directory, found no {MANIFEST_KEY} in it; `steerage run` makes \
                 one",
                store.root().join(name).display()
            ))
        })?;
        Ok(RunDir { store: store.clone(), name: name.to_owned(), manifest })
    }

    /// The directory's name in the store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the run is made from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where a key of the run is on the disk, for messages.
    pub fn path(&self, key: &str) -> PathBuf {
        let dir = self.store.root().join(&self.name);
        if key.is_empty() { dir } else { dir.join(key) }
    }

    /// Puts an object of the run, and vouches for it.
    ///
    /// # Errors
    /// Those of [`Store::put_once`].
    pub fn put_part(&self, key: String, rows: u64, bytes: Bytes) -> Result<PartRef> {
        let part = PartRef::of(key, rows, &bytes);
        self.store.put_once(&self.key(&part.key), bytes)?;
        Ok(part)
    }

    /// An object that a commit vouches for; its bytes are the ones that were committed.
    ///
    /// # Errors
    /// [`Error::Input`] if it is gone or not the same; those of [`Store::get`].
    pub fn get_part(&self, part: &PartRef) -> Result<Bytes> {
        let bytes = self.get(&part.key)?.ok_or_else(|| self.damaged(part, "nothing"))?;
        let checksum = hash::of_bytes(&bytes);
        if checksum == part.checksum {
            return Ok(bytes);
        }
        Err(self.damaged(part, &format!("{} bytes ({})", bytes.len(), &checksum[..8])))
    }

    /// Any object of the run; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`Store::get`].
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.store.get(&self.key(key))
    }

    /// Puts an object that is made from the commits and may be made again, such as a report.
    ///
    /// # Errors
    /// Those of [`Store::put_derived`].
    pub fn put_derived(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        self.store.put_derived(&self.key(key), bytes)
    }

    /// Makes an epoch part of the run. Everything it vouches for must exist.
    ///
    /// # Errors
    /// Those of [`Store::put_once`].
    ///
    /// # Panics
    /// If the commit contradicts itself.
    pub fn put_commit(&self, commit: &Commit) -> Result<()> {
        let problem = commit.problem(commit.epoch);
        assert!(problem.is_none(), "commit of epoch {}: {problem:?}", commit.epoch);
        self.store.put_once(&self.key(&commit_key(commit.epoch)), to_line(commit))
    }

    /// Which epochs are finished, without reading their commits.
    ///
    /// # Errors
    /// [`Error::Input`] if something else is among the commits; those of [`Store::list`].
    pub fn epochs(&self) -> Result<BTreeSet<Epoch>> {
        let prefix = self.key("");
        let epoch = |listed: Listed| {
            let key = listed.key.strip_prefix(&prefix).unwrap_or(&listed.key);
            epoch_of(key).ok_or_else(|| {
                Error::Input(format!(
                    "{}: expected commits named like {}; remove the file",
                    self.path(key).display(),
                    commit_key(17)
                ))
            })
        };
        self.store.list(&self.key("commits"))?.into_iter().map(epoch).collect()
    }

    /// The finished epochs.
    ///
    /// # Errors
    /// [`Error::Input`] if a commit cannot be read or contradicts itself; those of [`Store::list`].
    pub fn commits(&self) -> Result<BTreeMap<Epoch, Commit>> {
        self.epochs()?.into_iter().map(|epoch| Ok((epoch, self.commit(epoch)?))).collect()
    }

    /// Checks that everything that finished epochs vouch for is there and has its size: what can be
    /// known without reading it. Gives how many epochs they are.
    ///
    /// # Errors
    /// [`Error::Input`] that names the object; those of [`RunDir::commits`] and [`Store::size`].
    pub fn verify(&self) -> Result<u64> {
        let epochs = self.epochs()?;
        for epoch in &epochs {
            for part in self.commit(*epoch)?.objects() {
                let found = match self.store.size(&self.key(&part.key))? {
                    Some(bytes) if bytes == part.bytes => continue,
                    Some(bytes) => format!("{bytes} bytes"),
                    None => "nothing".to_owned(),
                };
                return Err(self.damaged(part, &found));
            }
        }
        Ok(epochs.len() as u64)
    }

    fn commit(&self, epoch: Epoch) -> Result<Commit> {
        let (key, again) = (commit_key(epoch), "remove it to have the epoch done again");
        let json = self.get(&key)?.unwrap_or_default();
        let commit: Commit = self.parse(&key, &json, again)?;
        match commit.problem(epoch) {
            None => Ok(commit),
            Some(problem) => {
                let path = self.path(&key);
                Err(Error::Input(format!("{}: {problem}; {again}", path.display())))
            }
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, json: &[u8], then: &str) -> Result<T> {
        parse(&self.path(key), json, then)
    }

    fn damaged(&self, part: &PartRef, found: &str) -> Error {
        let epoch = part.key.split_once("epoch=").and_then(|(_, rest)| rest.get(..6));
        let commit = epoch.map_or("the commit".to_owned(), |epoch| format!("commits/{epoch}.json"));
        Error::Input(format!(
            "{}: expected {} bytes ({}), found {found}: it was changed after its commit; remove it \
             and {commit} and run again, and the epoch is made again",
            self.path(&part.key).display(),
            part.bytes,
            part.checksum.get(..8).unwrap_or(&part.checksum),
        ))
    }

    fn foreign(&self, there: &Manifest) -> Error {
        Error::Input(format!(
            "{}: expected the run of job {:?} ({}), found one of job {:?} ({}) with another {}; \
             use another `run.root`, or remove the directory if nobody needs it",
            self.path("").display(),
            self.manifest.job,
            self.manifest.kind,
            there.job,
            there.kind,
            self.manifest.differences(there).join(", "),
        ))
    }

    fn missing(&self) -> Error {
        Error::Incomplete(format!(
            "{}: was there and is gone: somebody removes files of this run while it goes on",
            self.path(MANIFEST_KEY).display()
        ))
    }
}

/// The run directories of a store: their names, ascending.
///
/// # Errors
/// Those of [`Store::list`].
pub fn list_runs(store: &Store) -> Result<Vec<String>> {
    let suffix = format!("/{MANIFEST_KEY}");
    let listed = store.list("")?;
    Ok(listed.iter().filter_map(|l| l.key.strip_suffix(&suffix)).map(str::to_owned).collect())
}

fn read_manifest(store: &Store, name: &str) -> Result<Option<Manifest>> {
    let key = format!("{name}/{MANIFEST_KEY}");
    let path = store.root().join(&key);
    let Some(json) = store.get(&key)? else {
        return Ok(None);
    };
    let then = "the directory cannot be used: remove it if nobody needs it";
    let value: serde_json::Value = parse(&path, &json, then)?;
    let version = value["format_version"].as_u64();
    if let Some(version) = version.filter(|&version| version != u64::from(FORMAT_VERSION)) {
        return Err(Error::Input(format!(
            "{}: expected format version {FORMAT_VERSION}, found {version}: another release of \
             steerage made it; use that one, or another `run.root`",
            path.display()
        )));
    }
    parse(&path, &json, then).map(Some)
}

fn parse<T: DeserializeOwned>(path: &std::path::Path, json: &[u8], then: &str) -> Result<T> {
    serde_json::from_slice(json).map_err(|e| {
        Error::Input(format!(
            "{}: cannot be read ({} bytes): {e}; {then}",
            path.display(),
            json.len()
        ))
    })
}
