//! Where do bytes rest?
//!
//! [`Store`] owns the one way to write: [`Store::put_once`]. An object is put once under its key,
//! the same bytes again are a success, and other bytes are a conflict that stops the run. That
//! makes every write safe to repeat, so lost answers are retried here and nowhere above.

mod hash;
pub mod import;
pub mod input;
mod objects;
pub mod part;
mod record;
mod run;
pub mod tables;

pub use hash::{FileHash, HashCache, hash_file};
pub use objects::{Created, Failure, Listed, Local, Objects};
pub use record::{
    Commit, FORMAT_VERSION, InputRef, Manifest, PartRef, commit_key, exposure_key, fault_key,
    part_key,
};
pub use run::{RunDir, list_runs};

use crate::error::{Error, Result};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an operation without an answer is tried.
const ATTEMPTS_MAX: u32 = 6;
/// After this no further attempt is started.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The wait before the second attempt; it doubles from there.
const BACKOFF: Duration = Duration::from_millis(5);

/// Objects under one root, with retries. Cheap to clone; made to be shared between threads.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn Objects>,
    root: PathBuf,
}

impl Store {
    /// The store in a local directory, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be made.
    pub fn open(root: &Path) -> Result<Store> {
        Ok(Store::over(Arc::new(Local::open(root)?), root))
    }

    /// A store over any objects; `root` is what messages put before the key.
    pub fn over(objects: Arc<dyn Objects>, root: &Path) -> Store {
        Store { objects, root: root.to_path_buf() }
    }

    /// The directory the keys are in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The object's bytes; `None` if there is none.
    ///
    /// # Errors
    /// See [`Store::put_once`].
    pub fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.retry("read", key, || self.objects.get(key))
    }

    /// Puts an object that is never to change. Success means that these bytes are under the key,
    /// whoever wrote them.
    ///
    /// # Errors
    /// [`Error::Conflict`] if other bytes are there; [`Error::Incomplete`] if the disk is full or
    /// nothing answered for as long as is tried; [`Error::Io`] if the operation is refused.
    pub fn put_once(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        let create = || self.objects.create(key, bytes.clone());
        match self.retry("write", key, create)? {
            Created::New => return Ok(()),
            Created::There => {}
        }
        let there = self.get(key)?.ok_or_else(|| {
            Error::Incomplete(format!(
                "{}: was there and is gone: somebody removes files of this run while it goes on",
                self.root.join(key).display()
            ))
        })?;
        if there == bytes {
            return Ok(());
        }
        Err(Error::Conflict {
            key: self.root.join(key).display().to_string(),
            found: describe(&there),
            made: describe(&bytes),
        })
    }

    /// Puts an object that can be made again from others, such as a report; it takes the place of
    /// an older one.
    ///
    /// # Errors
    /// Those of [`Store::put_once`] but [`Error::Conflict`].
    pub fn put_derived(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        self.retry("write", key, || self.objects.replace(key, bytes.clone()))
    }

    /// The objects under `prefix/`, ascending by key. All of them if the prefix is empty.
    ///
    /// # Errors
    /// See [`Store::put_once`].
    pub fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.retry("list", prefix, || self.objects.list(prefix))
    }

    /// The object's size in bytes; `None` if there is none.
    ///
    /// # Errors
    /// See [`Store::put_once`].
    pub fn size(&self, key: &str) -> Result<Option<u64>> {
        self.retry("read", key, || self.objects.size(key))
    }

    /// Tries until there is an answer, at most [`ATTEMPTS_MAX`] times and for [`RETRY_MAX`].
    fn retry<T>(
        &self,
        what: &'static str,
        key: &str,
        mut operation: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T> {
        let path = self.root.join(key);
        let start = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let why = match operation() {
                Ok(value) => return Ok(value),
                Err(Failure::Full) => {
                    return Err(Error::Incomplete(format!(
                        "{what} {}: no space is left on the disk: free some and run again; \
                         finished epochs are kept",
                        path.display()
                    )));
                }
                Err(Failure::Refused(why)) => {
                    return Err(Error::io(what, path)(std::io::Error::other(why)));
                }
                Err(Failure::Unknown(why)) => why,
            };
            if attempts >= ATTEMPTS_MAX || start.elapsed() >= RETRY_MAX {
                return Err(Error::Incomplete(format!(
                    "{what} {}: no answer in {attempts} attempts and {:.0} s: {why}; run \
                     again when the storage answers: finished epochs are kept",
                    path.display(),
                    start.elapsed().as_secs_f64()
                )));
            }
            std::thread::sleep(BACKOFF * 2u32.pow(attempts - 1));
        }
    }
}

/// What a message says of bytes: how many, and the first digits of their hash.
fn describe(bytes: &[u8]) -> String {
    format!("{} bytes ({})", bytes.len(), &hash::of_bytes(bytes)[..8])
}
