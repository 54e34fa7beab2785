//! What a gradient's norm is made of.

use super::super::Buffer;
use super::super::launch::{Launch, SQUARE_SUMS, arguments};
use super::{fits, u32_of};
use crate::error::Result;

const THREADS: u32 = 256;
/// Numbers of a part.
const SQUARES: usize = 4096;

/// parts[b] = Σ x² over 4096 numbers.
#[derive(Clone, Copy, Debug)]
pub struct SquareSums<'a> {
    /// The numbers.
    pub x: &'a Buffer<f32>,
    /// As many as [`SquareSums::parts_of`] says.
    pub parts: &'a Buffer<f32>,
}

impl SquareSums<'_> {
    /// How many parts so many numbers have.
    pub fn parts_of(length: usize) -> usize {
        length.div_ceil(SQUARES)
    }

    /// Checks the call.
    ///
    /// # Errors
    /// If there are more or fewer parts.
    pub fn launch(&self) -> Result<Launch> {
        let (name, blocks) = (SQUARE_SUMS.name, Self::parts_of(self.x.len()));
        fits(name, "parts", self.parts, &[blocks])?;
        let arguments = arguments![self.x, self.parts, u32_of(name, self.x.len())?];
        Launch::new(SQUARE_SUMS, arguments).over([blocks, 1], THREADS)
    }
}
