//! Which run a job is: its directory's name follows from the job, its inputs and its upstream runs.

use crate::error::{Error, Result};
use crate::flow::cluster::Cluster;
use crate::spec::{Job, load};
use crate::store::{HashCache, InputRef, Manifest, RunDir, Store};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// What the command line adds to the job file.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--set key=value`, in order.
    pub sets: Vec<String>,
    /// The workers and processes.
    pub cluster: Cluster,
}

impl Options {
    /// Loads a job of a chain: every setting reaches the job on the command line, and those of
    /// `vars` and `run` reach what it reads from, too.
    pub fn load(&self, file: &Path, upstream: bool) -> Result<Job> {
        let shared = |set: &&String| set.starts_with("vars.") || set.starts_with("run.");
        let sets: Vec<String> =
            self.sets.iter().filter(|set| !upstream || shared(set)).cloned().collect();
        load(file, &sets)
    }
}

/// The store that a job's runs are in.
pub fn store(job: &Job) -> Result<Store> {
    Store::open(&job.run.root)
}

/// Content hashes of input files, by name; those seen before, and unchanged since, are remembered.
pub fn hash_inputs(store: &Store, paths: &[PathBuf]) -> Result<Vec<InputRef>> {
    let mut cache = HashCache::open(store)?;
    let mut inputs = Vec::with_capacity(paths.len());
    for path in paths {
        let found = cache.hash(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        inputs.push(InputRef { name: name.into(), hash: found.hash, bytes: found.bytes });
    }
    cache.save(store)?;
    Ok(inputs)
}

/// Content hashes of a model folder's files.
pub fn hash_folder(store: &Store, folder: &Path) -> Result<Vec<InputRef>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("open", folder))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json" || e == "safetensors"))
        .collect();
    files.sort();
    hash_inputs(store, &files)
}

/// What input files are called in what a run writes: their paths below the folder that all of them
/// are in. Where that folder lies is no part of the output.
pub fn names(paths: &[PathBuf]) -> Vec<String> {
    let mut common = paths.first().and_then(|path| path.parent()).map(Path::to_path_buf);
    while let Some(folder) = &common
        && !paths.iter().all(|path| path.starts_with(folder))
    {
        common = folder.parent().map(Path::to_path_buf);
    }
    let common = common.unwrap_or_default();
    let name = |path: &PathBuf| path.strip_prefix(&common).unwrap_or(path).display().to_string();
    paths.iter().map(name).collect()
}

/// The manifest of a job's run.
pub fn manifest(job: &Job, inputs: Vec<InputRef>, upstream: &[(&str, &RunDir)]) -> Manifest {
    let mut manifest = Manifest::new(&job.name, job.kind.name(), job.essence());
    manifest.inputs = inputs;
    for (name, run) in upstream {
        manifest.upstream.insert((*name).to_owned(), run.name().to_owned());
    }
    manifest
}

/// Where a training run keeps a file of its model.
pub fn model_key(name: &str) -> String {
    format!("parts/epoch=000000/{name}")
}

/// A file of a training run's model, which the run's commit vouches for.
///
/// Errors: a run that is not finished; a file that is gone or changed.
pub fn model_file(run: &RunDir, name: &str) -> Result<Bytes> {
    let (commits, key) = (run.commits()?, model_key(name));
    let part = commits.values().flat_map(|commit| &commit.parts).find(|part| part.key == key);
    run.get_part(part.ok_or_else(|| unfinished(run))?)
}

/// What a run of a single epoch came to: its commit's payload.
///
/// Errors: a run that is not finished, or of another kind.
pub fn payload<T: DeserializeOwned>(run: &RunDir) -> Result<T> {
    let commits = run.commits()?;
    let (_, commit) = commits.first_key_value().ok_or_else(|| unfinished(run))?;
    serde_json::from_value(commit.payload.clone()).map_err(|_| unfinished(run))
}

/// What is said of a run whose last commit is not there.
pub fn unfinished(run: &RunDir) -> Error {
    Error::Incomplete(format!("{}: the run is not finished: run its job first", run.name()))
}
