//! User and item ids as people have them: integers or strings.

use super::hash::mix64;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An external id. Integers sort before strings and by value; strings sort by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// An integer column's value.
    Int(i64),
    /// A string column's value.
    Text(Box<str>),
}

impl Key {
    /// A 64-bit hash that is the same on every machine and in every release: it names partitions
    /// and seeds what is drawn for a user.
    pub fn hash64(&self) -> u64 {
        match self {
            Key::Int(value) => mix64(*value as u64 ^ 0x9e37_79b9_7f4a_7c15),
            Key::Text(text) => {
                text.as_bytes().chunks(8).fold(mix64(text.len() as u64), |h, part| {
                    let mut word = [0; 8];
                    word[..part.len()].copy_from_slice(part);
                    mix64(h ^ u64::from_le_bytes(word))
                })
            }
        }
    }
}

impl Default for Key {
    fn default() -> Self {
        Key::Int(0)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key::Text(text.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Int(value) => value.fmt(f),
            Key::Text(text) => f.write_str(text),
        }
    }
}
