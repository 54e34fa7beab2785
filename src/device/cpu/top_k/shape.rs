//! The size of a search, and what it costs at least.

use crate::error::{Error, Result};

/// The dimensions of [`super::ItemIndex::search`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopKShape {
    /// U.
    pub users: usize,
    /// V.
    pub items: usize,
    /// D.
    pub width: usize,
    /// K.
    pub k: usize,
}

impl TopKShape {
    /// Whether buffers of these lengths hold this shape, and ids fit 32 bits.
    pub fn check(&self, users_len: usize, items_len: usize) -> Result<()> {
        let Self { users, items, width, .. } = *self;
        let fits = |rows: usize, len: usize| rows.checked_mul(width) == Some(len);
        if width == 0 {
            return Err(Error::Model(
                "top-k: rows have no columns: expected a width of at least 1".into(),
            ));
        }
        if items > u32::MAX as usize {
            let most = u32::MAX;
            return Err(Error::Model(format!(
                "top-k: {items} items: at most {most} can be numbered"
            )));
        }
        for (what, rows, len) in [("users", users, users_len), ("items", items, items_len)] {
            if !fits(rows, len) {
                return Err(Error::Model(format!(
                    "top-k: {what}: expected {rows} rows of {width} numbers, found {len} numbers"
                )));
            }
        }
        Ok(())
    }

    /// Bytes that must be read and written at least: the inputs once, a score and an id a place.
    pub fn bytes(&self) -> usize {
        4 * self.width * (self.users + self.items) + 8 * self.users * self.k.min(self.items)
    }

    /// Operations of the full product, a multiplication and an addition each counted.
    pub fn flops(&self) -> f64 {
        2.0 * self.users as f64 * self.items as f64 * self.width as f64
    }
}
