//! The world outside, as far as the store sees it: objects that are there whole or not at all.
//!
//! A failed write is of one of two kinds, and everything above depends on the difference: it did
//! not happen (determinate), or nobody can tell (indeterminate).

use crate::error::{Error, Result};
use bytes::Bytes;
use futures_executor::{block_on, block_on_stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::error::Error as Cause;
use std::io::ErrorKind;
use std::path::Path;

/// What a store of objects can do. A reader sees an object whole or not at all, and `create`
/// decides between any number of creators that only one of them made the object.
pub trait Objects: Send + Sync {
    /// The object's bytes; `None` if there is none.
    fn get(&self, key: &str) -> Result<Option<Bytes>, Failure>;

    /// Makes the object if there is none under this key.
    fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Failure>;

    /// Makes the object, or takes the place of the one that is there. For derived objects only.
    fn replace(&self, key: &str, bytes: Bytes) -> Result<(), Failure>;

    /// The objects whose key starts with `prefix/`, ascending by key, with their sizes.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure>;

    /// The object's size in bytes; `None` if there is none.
    fn size(&self, key: &str) -> Result<Option<u64>, Failure>;
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// What `create` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// There was none: the object is ours.
    New,
    /// There is one already, whatever its bytes.
    There,
}

/// Why an operation has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It did not happen: there is no room left. Trying again is of no use until somebody made
    /// room.
    #[error("no space left")]
    Full,
    /// It did not happen and will not: the key, the permissions, the kind of file system.
    #[error("{0}")]
    Refused(String),
    /// It may have happened. Every operation here can be tried again without harm.
    #[error("{0}")]
    Unknown(String),
}

/// A directory of this machine, or one that is mounted on it.
///
/// `create` writes a staged file `key#1` beside the key and links it to the key, which is atomic
/// and refuses a key that is taken; `replace` renames the staged file. A process killed in between
/// leaves the staged file alone: listings do not show it, and nobody writes to it again, since the
/// next writer stages under the next number.
///
/// Nothing is flushed to the disk before it is linked. A killed process loses nothing by that. A
/// machine that loses its power can keep a commit and lose the tail of a part, which is what the
/// sizes in the commit, checked before an epoch is skipped, are there to find.
#[derive(Debug)]
pub struct Local {
    files: LocalFileSystem,
}

impl Local {
    /// Opens the directory, making it if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made, or is no directory.
    pub fn open(root: &Path) -> Result<Local> {
        std::fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let files = LocalFileSystem::new_with_prefix(root)
            .map_err(|e| Error::io("open", root)(std::io::Error::other(e)))?;
        Ok(Local { files })
    }
}

impl Objects for Local {
    fn get(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        let key = parse(key)?;
        found(block_on(async { self.files.get(&key).await?.bytes().await }))
    }

    fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Failure> {
        let options = PutOptions::from(PutMode::Create);
        match block_on(self.files.put_opts(&parse(key)?, bytes.into(), options)) {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::There),
            Err(e) => Err(classify(&e)),
        }
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        block_on(self.files.put(&parse(key)?, bytes.into())).map(drop).map_err(|e| classify(&e))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        let prefix = (!prefix.is_empty()).then(|| parse(prefix)).transpose()?;
        let listed = block_on_stream(self.files.list(prefix.as_ref())).map(|meta| match meta {
            Ok(meta) => Ok(Listed { key: meta.location.into(), bytes: meta.size }),
            Err(e) => Err(classify(&e)),
        });
        let mut listed = listed.collect::<Result<Vec<_>, _>>()?;
        listed.sort_unstable();
        Ok(listed)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, Failure> {
        let key = parse(key)?;
        Ok(found(block_on(self.files.head(&key)))?.map(|meta| meta.size))
    }
}

fn parse(key: &str) -> Result<Key, Failure> {
    Key::parse(key).map_err(|e| Failure::Refused(e.to_string()))
}

fn found<T>(answer: object_store::Result<T>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(classify(&e)),
    }
}

/// Whatever is not known to have failed for good may have happened.
fn classify(error: &(dyn Cause + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(at) = cause {
        match at.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => return Failure::Full,
            Some(
                ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidFilename
                | ErrorKind::FileTooLarge
                | ErrorKind::Unsupported,
            ) => return Failure::Refused(at.to_string()),
            _ => cause = at.source(),
        }
    }
    Failure::Unknown(error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_everything_else() {
        let wrap = |errno| object_store::Error::Generic {
            store: "test",
            source: Box::new(std::io::Error::from_raw_os_error(errno)),
        };
        assert!(matches!(classify(&wrap(28)), Failure::Full), "ENOSPC");
        assert!(matches!(classify(&wrap(122)), Failure::Full), "EDQUOT");
        assert!(matches!(classify(&wrap(13)), Failure::Refused(_)), "EACCES");
        assert!(matches!(classify(&wrap(5)), Failure::Unknown(_)), "EIO");
        assert!(matches!(classify(&wrap(110)), Failure::Unknown(_)), "ETIMEDOUT");
    }

    #[test]
    fn what_a_killed_writer_left_disturbs_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Local::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("parts")).unwrap();
        // A writer killed in the middle of staging, and one killed between the link and the
        // clean-up.
        std::fs::write(dir.path().join("parts/a#1"), b"hal").unwrap();
        assert_eq!(objects.get("parts/a").unwrap(), None);
        assert_eq!(objects.create("parts/a", "half or whole".into()).unwrap(), Created::New);
        std::fs::hard_link(dir.path().join("parts/a"), dir.path().join("parts/a#2")).unwrap();
        assert_eq!(objects.create("parts/a", "other".into()).unwrap(), Created::There);
        objects.replace("parts/b", "b".into()).unwrap();

        assert_eq!(objects.get("parts/a").unwrap().unwrap(), "half or whole");
        let keys: Vec<_> = objects.list("parts").unwrap().into_iter().map(|l| l.key).collect();
        assert_eq!(keys, ["parts/a", "parts/b"]);
        assert_eq!(objects.size("parts/a").unwrap(), Some("half or whole".len() as u64));
        assert_eq!(objects.size("parts/c").unwrap(), None);
    }
}
