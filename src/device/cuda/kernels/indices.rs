//! Places in tables, seen to be there before they went to a device.

use super::super::{Buffer, Driver};
use crate::error::{Error, Result};
use std::ops::Range;

/// What stands for none.
const NONE: u32 = u32::MAX;

/// Rows of a table, or none.
#[derive(Clone, Debug)]
pub struct Indices {
    buffer: Buffer<u32>,
    needed: usize,
    complete: bool,
}

impl Indices {
    /// Copies rows of a table to the device.
    ///
    /// # Errors
    /// Those of [`Buffer::of`].
    pub fn of(driver: &dyn Driver, rows: &[u32]) -> Result<Self> {
        let needed = rows.iter().max().map_or(0, |row| *row as usize + 1);
        Ok(Self { buffer: Buffer::of(driver, rows)?, needed, complete: true })
    }

    /// As [`Indices::of`], of which some may be none.
    ///
    /// # Errors
    /// Those of [`Buffer::of`].
    pub fn of_some(driver: &dyn Driver, rows: &[Option<u32>]) -> Result<Self> {
        let needed = rows.iter().flatten().max().map_or(0, |row| *row as usize + 1);
        let complete = rows.iter().all(Option::is_some);
        let rows: Vec<u32> = rows.iter().map(|row| row.unwrap_or(NONE)).collect();
        Ok(Self { buffer: Buffer::of(driver, &rows)?, needed, complete })
    }

    /// The rows on the device.
    pub fn buffer(&self) -> &Buffer<u32> {
        &self.buffer
    }

    /// Some of them.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        Ok(Self { buffer: self.buffer.slice(range)?, ..self.clone() })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// That a table of so many rows has them all.
    pub(super) fn are_in(&self, kernel: &str, name: &str, table: usize) -> Result<()> {
        inside(kernel, name, self.needed, table)
    }

    /// That none is none.
    pub(super) fn are_all(&self, kernel: &str, name: &str) -> Result<()> {
        match self.complete {
            true => Ok(()),
            false => Err(Error::Device(format!("{kernel}: {name}: one is none"))),
        }
    }
}

/// Rows of a table, and of a second one as −1, −2 ….
#[derive(Clone, Debug)]
pub struct Rows {
    buffer: Buffer<i32>,
    needed: [usize; 2],
}

impl Rows {
    /// Copies rows to the device.
    ///
    /// # Errors
    /// Those of [`Buffer::of`].
    pub fn of(driver: &dyn Driver, rows: &[i32]) -> Result<Self> {
        let first = rows.iter().map(|row| i64::from(*row)).max();
        let second = rows.iter().map(|row| -1 - i64::from(*row)).max();
        let needed = [first, second].map(|most| (most.unwrap_or(-1) + 1).max(0) as usize);
        Ok(Self { buffer: Buffer::of(driver, rows)?, needed })
    }

    /// The rows on the device.
    pub fn buffer(&self) -> &Buffer<i32> {
        &self.buffer
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// That two tables of so many rows have them all.
    pub(super) fn are_in(&self, kernel: &str, tables: [usize; 2]) -> Result<()> {
        let tables = self.needed.into_iter().zip(tables);
        tables
            .zip(["table", "own"])
            .try_for_each(|((needed, found), name)| inside(kernel, name, needed, found))
    }
}

pub(super) fn inside(kernel: &str, name: &str, needed: usize, found: usize) -> Result<()> {
    if needed > found {
        return Err(Error::Device(format!(
            "{kernel}: {name}: row {} of a table that has {found}",
            needed - 1
        )));
    }
    Ok(())
}
