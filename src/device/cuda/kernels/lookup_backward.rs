//! The gradient of a table's trained rows.

use super::super::launch::{LOOKUP_BACKWARD, Launch, arguments};
use super::super::{Buffer, Driver};
use super::{fits, u32_of, wide};
use crate::error::{Error, Result};

const THREADS: u32 = 256;

/// Which tokens each trained row is looked up by.
#[derive(Clone, Debug)]
pub struct Uses {
    rows: usize,
    tokens: usize,
    starts: Buffer<u32>,
    uses: Buffer<u32>,
}

impl Uses {
    /// Sorts tokens by their trained rows, none for those that are not trained, and copies that to
    /// the device.
    ///
    /// # Errors
    /// If a row is not below `rows`; and those of [`Buffer::of`].
    pub fn of(driver: &dyn Driver, rows: usize, tokens: &[Option<u32>]) -> Result<Self> {
        let name = LOOKUP_BACKWARD.name;
        let mut used: Vec<(u32, u32)> =
            (0..).zip(tokens).filter_map(|(token, row)| row.map(|row| (row, token))).collect();
        used.sort_unstable();
        let last = used.last().map_or(0, |(row, _)| *row as usize + 1);
        super::indices::inside(name, "rows", last, rows)?;
        u32_of(name, tokens.len())?;
        let starts: Vec<u32> = (0..=rows as u32)
            .map(|row| used.partition_point(|(used, _)| *used < row) as u32)
            .collect();
        let uses: Vec<u32> = used.into_iter().map(|(_, token)| token).collect();
        let (starts, uses) = (Buffer::of(driver, &starts)?, Buffer::of(driver, &uses)?);
        Ok(Self { rows, tokens: tokens.len(), starts, uses })
    }

    /// How many rows there are, where each one's tokens begin, and the tokens; of as many tokens.
    pub(super) fn parts(
        &self,
        kernel: &str,
        tokens: usize,
    ) -> Result<(usize, &Buffer<u32>, &Buffer<u32>)> {
        let Self { rows, starts, uses, .. } = self;
        if self.tokens != tokens {
            let found = self.tokens;
            return Err(Error::Device(format!(
                "{kernel}: uses: expected {tokens} tokens, found {found}"
            )));
        }
        Ok((*rows, starts, uses))
    }
}

/// Adds each token's gradient to that of its row, in the order of the tokens.
#[derive(Clone, Copy, Debug)]
pub struct LookupBackward<'a> {
    /// Width of a row.
    pub hidden: usize,
    /// What the sums are multiplied by.
    pub scale: f32,
    /// Which token is which row's.
    pub uses: &'a Uses,
    /// (tokens, hidden).
    pub d_out: &'a Buffer<f32>,
    /// (rows, hidden), added to.
    pub d_rows: &'a Buffer<f32>,
}

impl LookupBackward<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, hidden) = (LOOKUP_BACKWARD.name, self.hidden);
        wide(name, "hidden", hidden, [1, i32::MAX as usize])?;
        let (rows, starts, uses) = self.uses.parts(name, self.d_out.len() / hidden)?;
        fits(name, "d_out", self.d_out, &[self.uses.tokens, hidden])?;
        fits(name, "d_rows", self.d_rows, &[rows, hidden])?;
        let arguments =
            arguments![self.d_out, starts, uses, self.d_rows, u32_of(name, hidden)?, self.scale];
        let blocks = [rows, hidden.div_ceil(THREADS as usize)];
        Launch::new(LOOKUP_BACKWARD, arguments).over(blocks, THREADS)
    }
}
