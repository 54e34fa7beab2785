//! Numbers as products read them.

use super::super::launch::{Launch, ROUND, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, fits, u32_of, wide};
use crate::error::Result;

const THREADS: u32 = 256;

/// rounded = x in bf16.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// A multiple of 8 numbers.
    pub x: &'a Buffer<f32>,
    /// As many.
    pub rounded: &'a Buffer<Bf16>,
}

impl Round<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If the buffers' lengths differ, or are no multiple of 8.
    pub fn launch(&self) -> Result<Launch> {
        let (name, length) = (ROUND.name, self.x.len());
        wide(name, "length", length, [EIGHT, i32::MAX as usize])?;
        fits(name, "rounded", self.rounded, &[length])?;
        let arguments = arguments![self.x, self.rounded, u32_of(name, length)?];
        let blocks = length.div_ceil(EIGHT * THREADS as usize);
        Launch::new(ROUND, arguments).over([blocks, 1], THREADS)
    }
}
