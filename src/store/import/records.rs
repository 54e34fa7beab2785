//! The records of a table: fields between delimiters, where a field in quotes may hold delimiters
//! and line breaks.
//!
//! A stray quote, such as the inches of `"12 inch pan`, would make one field of all that follows up
//! to the next quote. So a field that goes over lines must end as fields do, before a delimiter or
//! a line break, and soon; otherwise the line in which it begins is rejected, and reading goes on
//! with the next one. Within one line, quotes in odd places stand for themselves. (The crates that
//! read CSV go on to the next quote, wherever that is, and do not tell.)

use super::lines::{LINE_BYTES_MAX, damaged, open, short, skip_line};
use crate::error::Result;
use std::io::{BufRead, Read};
use std::path::Path;

/// A field goes on for no more bytes than this after its first line break.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// How a file is written.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// What is between two fields.
    pub delimiter: u8,
    /// Whether fields may be in quotes.
    pub quotes: bool,
}

/// The fields of one record, without their quotes.
#[derive(Default)]
pub(super) struct Fields {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.get(at))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn end(&mut self) {
        self.ends.push(self.text.len());
    }

    /// The field that has not ended.
    fn last(&self) -> &[u8] {
        &self.text[self.ends.last().copied().unwrap_or(0)..]
    }
}

/// Reads a file record by record.
pub(super) struct Records<'a> {
    path: &'a Path,
    dialect: Dialect,
    reader: Box<dyn BufRead>,
    /// What is read and not taken yet starts at `start`.
    window: Vec<u8>,
    start: usize,
    ended: bool,
    line: u64,
}

impl<'a> Records<'a> {
    /// # Errors
    /// [`crate::error::Error::Io`] if the file cannot be opened.
    pub fn open(path: &'a Path, dialect: Dialect) -> Result<Records<'a>> {
        let (reader, window) = (open(path)?, Vec::new());
        let mut records =
            Records { path, dialect, reader, window, start: 0, ended: false, line: 1 };
        records.fill()?;
        if records.window.starts_with(b"\xef\xbb\xbf") {
            records.start = 3; // spreadsheets put a byte order mark in front
        }
        Ok(records)
    }

    /// The line in which the next record starts, and what is wrong with it if it has no end; blank
    /// lines are none. `None` at the end of the file.
    ///
    /// # Errors
    /// [`crate::error::Error::Input`] if the file is damaged.
    pub fn next(&mut self, fields: &mut Fields) -> Result<Option<(u64, Result<(), String>)>> {
        loop {
            if self.window.len() - self.start < LINE_BYTES_MAX as usize {
                self.fill()?;
            }
            let Some(first) = self.window.get(self.start) else { return Ok(None) };
            if matches!(first, b'\n' | b'\r') {
                self.line += u64::from(*first == b'\n');
                self.start += 1;
                continue;
            }
            let line = self.line;
            let left = &self.window[self.start..];
            let seen = &left[..left.len().min(LINE_BYTES_MAX as usize)];
            let ended = self.ended && seen.len() == left.len();
            let found = parse(seen, ended, self.dialect, fields);
            return match found {
                Found::Whole(bytes) => {
                    self.take(bytes);
                    Ok(Some((line, Ok(()))))
                }
                Found::Unclosed(bytes) => {
                    self.take(bytes);
                    Ok(Some((line, Err(unclosed(fields)))))
                }
                Found::Long => {
                    self.skip()?;
                    Ok(Some((line, Err(format!("longer than {LINE_BYTES_MAX} bytes")))))
                }
            };
        }
    }

    fn take(&mut self, bytes: usize) {
        self.line += breaks(&self.window[self.start..self.start + bytes]);
        self.start += bytes;
    }

    /// Reads on until there is room for the longest line, twice: so a byte is moved once at most.
    fn fill(&mut self) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.window.drain(..self.start);
        self.start = 0;
        let room = 2 * LINE_BYTES_MAX - self.window.len() as u64;
        let read = (&mut self.reader).take(room).read_to_end(&mut self.window);
        let read = read.map_err(|e| damaged(self.path, self.line + breaks(&self.window), &e))?;
        self.ended = (read as u64) < room;
        Ok(())
    }

    /// Passes over a line that is too long, which may end in what is read ahead.
    fn skip(&mut self) -> Result<()> {
        match self.window[self.start..].iter().position(|byte| *byte == b'\n') {
            Some(end) => self.start += end + 1,
            None => {
                self.start = self.window.len();
                skip_line(&mut self.reader).map_err(|e| damaged(self.path, self.line, &e))?;
            }
        }
        self.line += 1;
        Ok(())
    }
}

fn breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

fn unclosed(fields: &Fields) -> String {
    let text = String::from_utf8_lossy(fields.last());
    let text = text.lines().next().unwrap_or_default();
    format!(
        "expected a quote at the end of field {}, found none: {}",
        fields.len() + 1,
        short(text)
    )
}

/// What is at the start of some bytes.
enum Found {
    /// A record of so many bytes.
    Whole(usize),
    /// A line of so many bytes with a field that does not end.
    Unclosed(usize),
    /// No end of a line.
    Long,
}

/// Where in a record a byte is.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// At the start of a field.
    Start,
    /// In a field.
    Plain,
    /// In quotes.
    Quoted,
    /// After a quote in quotes: their end, or the first of two that stand for one.
    Quote,
}

fn parse(bytes: &[u8], ended: bool, dialect: Dialect, fields: &mut Fields) -> Found {
    fields.clear();
    let mut at = At::Start;
    let mut first_line = None; // its length, in a record of several
    for (place, &byte) in bytes.iter().enumerate() {
        let is_break = matches!(byte, b'\n' | b'\r');
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, _) => {
                if is_break {
                    first_line.get_or_insert(place + 1);
                }
                if let Some(line) = first_line.filter(|line| place >= line + FIELD_BYTES_MAX) {
                    return Found::Unclosed(line);
                }
                fields.text.push(byte);
                At::Quoted
            }
            (At::Start, b'"') if dialect.quotes => At::Quoted,
            (_, _) if is_break => {
                fields.end();
                return Found::Whole(place + 1);
            }
            (_, _) if byte == dialect.delimiter => {
                fields.end();
                At::Start
            }
            (At::Quote, _)
                if byte != b'"'
                    && let Some(line) = first_line =>
            {
                return Found::Unclosed(line);
            }
            (before, _) => {
                fields.text.push(byte);
                if before == At::Quote && byte == b'"' { At::Quoted } else { At::Plain }
            }
        };
    }
    match first_line {
        Some(line) if at == At::Quoted || !ended => Found::Unclosed(line),
        None if !ended => Found::Long,
        None if at == At::Quoted => Found::Unclosed(bytes.len()),
        _ => {
            fields.end();
            Found::Whole(bytes.len())
        }
    }
}
