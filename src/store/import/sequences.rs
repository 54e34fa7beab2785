//! Plain sequence text: `user item item …` lines, or `user item` lines. The order is the time.

use super::lines::{each, short, utf8};
use super::write::Sink;
use crate::error::Result;
use std::path::Path;

/// Reads one file. A line's time goes on from the line before, so that a user may have many lines.
pub(super) fn read(path: &Path, sink: &mut Sink) -> Result<()> {
    each(path, sink, |line, sink| {
        let line = utf8(line)?;
        if let Some(control) = line.chars().find(|c| c.is_control() && !c.is_whitespace()) {
            return Err(format!("expected text, found the character {control:?}").into());
        }
        let mut words = line.split_whitespace();
        let user = words.next().unwrap_or_default();
        let items: Vec<&str> = words.collect();
        if items.is_empty() {
            return Err(format!("expected a user and items, found {}", short(line)).into());
        }
        // All or nothing: a line with one bad id is rejected before anything of it is written.
        sink.check(user, &items)?;
        for item in items {
            sink.interaction(user, item, sink.interactions() as i64, 1.0)?;
        }
        Ok(())
    })
}
