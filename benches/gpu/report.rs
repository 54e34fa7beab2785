//! Lines of evidence, written as they are found: who is stopped has those before.

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use steerage::error::{Error, Result};

/// What a part has found.
pub struct Report {
    file: File,
    path: String,
    failures: Cell<usize>,
}

impl Report {
    /// Begins the file of a part.
    pub fn new(folder: &Path, part: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(format!("{part}.txt"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        Ok(Self { file, path: path.display().to_string(), failures: Cell::new(0) })
    }

    /// Says a line, and writes it.
    pub fn line(&self, line: &str) -> Result<()> {
        println!("{line}");
        writeln!(&self.file, "{line}").map_err(Error::io("write", Path::new(&self.path)))
    }

    /// What failed is a line, too, and others go on.
    pub fn attempt(&self, what: &str, done: Result<()>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        self.failures.set(self.failures.get() + 1);
        self.line(&format!("FAILED: {what}: {error}"))
    }

    /// A fault if something failed.
    pub fn end(&self) -> Result<()> {
        match self.failures.get() {
            0 => Ok(()),
            count => Err(Error::Device(format!("{count} failed: {}", self.path))),
        }
    }
}
