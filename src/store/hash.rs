//! Content addresses: what an input is, whatever it is called.

use super::Store;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the cache rests, in the root of the runs.
const CACHE_KEY: &str = ".hashes.json";
/// A file changed this recently could change again within the clock's grain and keep its time.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// A file's content address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// BLAKE3 of the content, 64 hex digits.
    pub hash: String,
    /// The content's size.
    pub bytes: u64,
}

/// Hashes a file of any size, in constant memory.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn hash_file(path: &Path) -> Result<FileHash> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(Error::io("read", path))?;
    Ok(FileHash { hash: hasher.finalize().to_hex().to_string(), bytes: hasher.count() })
}

/// The checksum of bytes in memory, 64 hex digits.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The hashes of files that have not changed since they were last hashed, by path, size and time of
/// change. A cache: a damaged one is as good as none.
pub struct HashCache {
    known: BTreeMap<String, Known>,
    changed: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct Known {
    hash: String,
    bytes: u64,
    modified_ns: u64,
}

impl HashCache {
    /// Reads what earlier runs hashed.
    ///
    /// # Errors
    /// Those of [`Store::get`].
    pub fn open(store: &Store) -> Result<HashCache> {
        let known = store.get(CACHE_KEY)?.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(HashCache { known: known.unwrap_or_default(), changed: false })
    }

    /// The file's hash, from the cache if the file has the size and time it had.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn hash(&mut self, path: &Path) -> Result<FileHash> {
        let path = path.canonicalize().map_err(Error::io("read", path))?;
        let meta = path.metadata().map_err(Error::io("read", &path))?;
        let modified_ns = modified_ns(&meta);
        let name = path.to_string_lossy().into_owned();
        if let Some(known) = self.known.get(&name)
            && known.bytes == meta.len()
            && known.modified_ns == modified_ns
        {
            return Ok(FileHash { hash: known.hash.clone(), bytes: known.bytes });
        }
        let made = hash_file(&path)?;
        if settled(&meta) && made.bytes == meta.len() {
            let FileHash { hash, bytes } = made.clone();
            self.known.insert(name, Known { hash, bytes, modified_ns });
            self.changed = true;
        }
        Ok(made)
    }

    /// Keeps what was hashed for the next run.
    ///
    /// # Errors
    /// Those of [`Store::put_derived`].
    pub fn save(&self, store: &Store) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let json = serde_json::to_vec(&self.known).expect("strings and numbers are always JSON");
        store.put_derived(CACHE_KEY, json)
    }
}

/// 0 where the file system keeps no times: never settled, so never cached.
fn modified_ns(meta: &Metadata) -> u64 {
    let since = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

fn settled(meta: &Metadata) -> bool {
    let age = meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > SETTLED_AFTER)
}
