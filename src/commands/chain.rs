//! A job file with those that it reads from, and those that they read from: checked before anything
//! is done, so that no mistake is found hours after the start.

use super::devices;
use super::ready::ready;
use super::runs::Options;
use crate::error::{Error, Result};
use crate::spec::{DeviceSpec, Job, Needed, Problems};
use crate::store::Store;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Loads a job, and checks every job file of its chain.
///
/// Errors: the mistakes of all files, each with its file: fields, a job that is not there or of
/// another kind than its reader needs, jobs that read from each other in a circle.
pub fn load(file: &Path, options: &Options) -> Result<Job> {
    let job = options.load(file, false)?;
    let mut walk = Walk { options, way: Vec::new(), seen: BTreeSet::new(), mistakes: Vec::new() };
    walk.visit(&job);
    match (walk.mistakes.pop(), walk.mistakes.is_empty()) {
        (None, _) => Ok(job),
        (Some(only), true) => Err(only),
        (Some(last), false) => {
            walk.mistakes.push(last);
            Err(Error::Several(walk.mistakes))
        }
    }
}

/// Refuses a chain in which a job that is not finished names a device that is not here: it would
/// end there, after all before it had been run.
pub fn find_devices(job: &Job, store: &Store, options: &Options) -> Result<()> {
    for needed in job.upstream() {
        find_devices(&options.load(&needed.file, true)?, store, options)?;
    }
    let find = |(field, device): (&str, &DeviceSpec)| devices::find(device, field);
    let Err(error) = job.devices().into_iter().try_for_each(find) else { return Ok(()) };
    match ready(job, store, options)? {
        Some(_) => Ok(()),
        None => Err(of_job(&job.file, error)),
    }
}

/// An error of a device, with the job that names it.
pub fn of_job(file: &Path, error: Error) -> Error {
    match error {
        Error::Device(why) => Error::Device(format!("{}: {why}", file.display())),
        other => other,
    }
}

/// From a job to all that it reads from, each file once.
struct Walk<'a> {
    options: &'a Options,
    /// The files from the first job to where the walk is.
    way: Vec<PathBuf>,
    /// The files that were read, as [`whole`] names them.
    seen: BTreeSet<PathBuf>,
    mistakes: Vec<Error>,
}

impl Walk<'_> {
    fn visit(&mut self, job: &Job) {
        self.way.push(job.file.clone());
        let (at, mut problems) = (self.mistakes.len(), Problems::default());
        let needed = job.upstream();
        let found: Vec<Job> =
            needed.iter().filter_map(|needed| self.find(needed, &mut problems)).collect();
        if !problems.0.is_empty() {
            let file = job.file.display().to_string();
            self.mistakes.insert(at, Error::Spec { file, problems: problems.0 });
        }
        for job in found {
            if self.seen.insert(whole(&job.file)) {
                self.visit(&job);
            }
        }
        self.way.pop();
    }

    /// Loads what a job needs, unless the walk came from there. What is wrong with the reference is
    /// added to `problems`, and what is wrong in the file is noted once.
    fn find(&mut self, needed: &Needed, problems: &mut Problems) -> Option<Job> {
        let Needed { field, kind, file } = needed;
        let same = |on: &PathBuf| whole(on) == whole(file);
        if let Some(at) = self.way.iter().position(same) {
            let circle: Vec<String> = self.way[at..]
                .iter()
                .chain([file])
                .map(|file| file.display().to_string())
                .collect();
            let circle = circle.join(" → ");
            problems.add(field, format!("{circle}: jobs read from each other in a circle"));
            return None;
        }
        match self.options.load(file, true) {
            Ok(job) => {
                let found = job.kind.name();
                if found != *kind {
                    let file = file.display();
                    let what =
                        format!("expected a job of kind {kind:?}, found {found:?} in {file}");
                    problems.add(field, what);
                }
                Some(job)
            }
            Err(error @ Error::Io { .. }) => {
                problems.add(field, error);
                None
            }
            Err(error) => {
                if self.seen.insert(whole(file)) {
                    self.mistakes.push(error);
                }
                None
            }
        }
    }
}

/// One name for a file, however it is written.
fn whole(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_path_buf())
}
