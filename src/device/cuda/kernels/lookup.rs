//! A decoder's embeddings.

use super::super::launch::{LOOKUP, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, Rows, WARP, fits, u32_of, wide};
use crate::error::Result;

/// out[t] = table[rows[t]], or own[−1 − rows[t]] where rows[t] is negative.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Width of a row: a multiple of 8.
    pub hidden: usize,
    /// (vocabulary, hidden).
    pub table: &'a Buffer<Bf16>,
    /// (rows, hidden): adapters' own rows, one after the other.
    pub own: Option<&'a Buffer<Bf16>>,
    /// (tokens).
    pub rows: &'a Rows,
    /// (tokens, hidden).
    pub out: &'a Buffer<f32>,
}

impl Lookup<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row is in no table.
    pub fn launch(&self) -> Result<Launch> {
        let (name, hidden) = (LOOKUP.name, self.hidden);
        let tokens = self.rows.len();
        wide(name, "hidden", hidden, [EIGHT, i32::MAX as usize])?;
        fits(name, "out", self.out, &[tokens, hidden])?;
        let own = self.own.map_or(0, |own| own.len() / hidden);
        self.rows.are_in(name, [self.table.len() / hidden, own])?;
        let threads = (hidden / EIGHT).next_multiple_of(WARP).min(256) as u32;
        let hidden = u32_of(name, hidden)?;
        Launch::new(LOOKUP, arguments![self.table, self.own, self.rows.buffer(), self.out, hidden])
            .over([tokens, 1], threads)
    }
}
