//! A file's bytes where they lie: read by the page when they are looked at, and by nobody twice.
#![allow(unsafe_code)] // a mapping's bytes are the file's

use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;

/// A file, mapped for reading.
#[derive(Debug)]
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file. It must stay as it is while it is mapped: a process that cuts it off ends this
    /// one with a bus error. That is why what lives long is copied out.
    ///
    /// Errors: [`Error::Io`] when it cannot be opened, is empty or is no file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        // SAFETY: the mapping is private and read-only, and only `&[u8]` is given out, whose
        // every bit pattern is valid. Its bytes change only if somebody writes to the file at the
        // same time: model files are written once, and whoever loads one checks what it takes out
        // of it after it has been taken.
        unsafe { memmap2::Mmap::map(&file) }.map(Self).map_err(Error::io("map", path))
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
