//! The lines of a text file, plain or gzipped, each taken or rejected.

use super::write::Sink;
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Longer lines are rejected: no format has them, and a binary file may be one single line.
pub(super) const LINE_BYTES_MAX: u64 = 16 << 20;

/// Why a line was not taken.
pub(super) enum Refused {
    /// The line is bad; the others may be good.
    Line(String),
    /// The import cannot go on.
    Stop(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Stop(error)
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Refused::Line(reason)
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        Refused::Line(reason.to_owned())
    }
}

/// Opens a file, and unpacks it if its first bytes say that it is gzipped.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    let zipped = file.fill_buf().map_err(Error::io("read", path))?.starts_with(&[0x1f, 0x8b]);
    Ok(if zipped {
        Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// Hands every line that is not blank to `take`, without its end. What `take` refuses is rejected.
///
/// # Errors
/// [`Error::Input`] if there is no line that it takes, or the file is damaged.
pub(super) fn each(
    path: &Path,
    sink: &mut Sink,
    mut take: impl FnMut(&[u8], &mut Sink) -> Result<(), Refused>,
) -> Result<()> {
    let mut reader = open(path)?;
    let mut taken = Taken::new(path);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = (&mut reader).take(LINE_BYTES_MAX);
        let bytes = limited.read_until(b'\n', &mut line).map_err(|e| damaged(path, number, &e))?;
        if bytes == 0 {
            break;
        }
        if bytes as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            skip_line(&mut reader).map_err(|e| damaged(path, number, &e))?;
            let reason = format!("longer than {LINE_BYTES_MAX} bytes");
            taken.count(number, Err(reason.into()), sink)?;
            continue;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            let result = take(text, sink);
            taken.count(number, result, sink)?;
        }
    }
    taken.finish()
}

/// How many lines of a file were taken, and what was wrong with the first that was not.
pub(super) struct Taken<'a> {
    path: &'a Path,
    lines: u64,
    first: Option<(u64, String)>,
}

impl<'a> Taken<'a> {
    pub fn new(path: &'a Path) -> Self {
        Taken { path, lines: 0, first: None }
    }

    pub fn count(
        &mut self,
        number: u64,
        result: Result<(), Refused>,
        sink: &mut Sink,
    ) -> Result<()> {
        match result {
            Ok(()) => self.lines += 1,
            Err(Refused::Stop(error)) => return Err(error),
            Err(Refused::Line(reason)) => {
                sink.reject(self.path, number, &reason)?;
                self.first.get_or_insert((number, reason));
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        match (self.lines, self.first) {
            (0, None) => Err(Error::Input(format!(
                "{}: expected lines of the format, found an empty file",
                self.path.display()
            ))),
            (0, Some((number, reason))) => Err(bad_line(
                self.path,
                number,
                format!("{reason}, and no other line is good: is this the right format?"),
            )),
            _ => Ok(()),
        }
    }
}

/// An error about a line.
pub(super) fn bad_line(path: &Path, number: u64, what: impl std::fmt::Display) -> Error {
    Error::Input(format!("{}: line {number}: {what}", path.display()))
}

pub(super) fn damaged(path: &Path, number: u64, why: &io::Error) -> Error {
    bad_line(path, number, format!("cannot be read: {why}: copy the file again"))
}

pub(super) fn skip_line(reader: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let (bytes, done) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(bytes);
        if done {
            return Ok(());
        }
    }
}

/// A text in UTF-8, or why not.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(bytes)
        .map_err(|e| format!("not UTF-8 from byte {} on", e.valid_up_to() + 1).into())
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
