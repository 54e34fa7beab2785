//! Keys and values for later passes.

use super::super::launch::{KEEP, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, Indices, WARP, fits, u32_of, wide};
use crate::error::Result;

/// kept[places[t]] = the keys and values of qkv[t].
#[derive(Clone, Copy, Debug)]
pub struct Keep<'a> {
    /// Numbers of a token's queries, and of its keys and values: multiples of 8.
    pub numbers: [usize; 2],
    /// (tokens, both).
    pub qkv: &'a Buffer<Bf16>,
    /// (tokens): a row for each, another for each.
    pub places: &'a Indices,
    /// (rows, numbers of keys and values).
    pub kept: &'a Buffer<Bf16>,
}

impl Keep<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a place is none.
    pub fn launch(&self) -> Result<Launch> {
        let ([before, numbers], name) = (self.numbers, KEEP.name);
        let tokens = self.places.len();
        for (what, count) in [("queries", before), ("keys and values", numbers)] {
            wide(name, what, count, [EIGHT, i32::MAX as usize])?;
        }
        fits(name, "qkv", self.qkv, &[tokens, before + numbers])?;
        let rows = self.kept.len() / numbers;
        fits(name, "kept", self.kept, &[rows, numbers])?;
        self.places.are_all(name, "places")?;
        self.places.are_in(name, "places", rows)?;
        let threads = (numbers / EIGHT).next_multiple_of(WARP).min(256) as u32;
        let [before, numbers] = [u32_of(name, before)?, u32_of(name, numbers)?];
        let places = self.places.buffer();
        Launch::new(KEEP, arguments![self.qkv, places, self.kept, before, numbers])
            .over([tokens, 1], threads)
    }
}
