//! Rows as FP8 numbers.

use super::super::launch::{Launch, QUANTISE, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, WARP, fits, u32_of, wide};
use crate::device::shape::NormShape;
use crate::error::Result;

/// Threads of a block, at most.
const THREADS: usize = 1024;

/// out[r] = x[r] / scales[r] as E4M3, scales[r] = max |x[r]| / 448.
#[derive(Clone, Copy, Debug)]
pub struct Quantise<'a> {
    /// Dimensions: `hidden` a multiple of 8.
    pub shape: NormShape,
    /// (rows, hidden).
    pub x: &'a Buffer<Bf16>,
    /// (rows, hidden): the numbers' bits.
    pub out: &'a Buffer<u8>,
    /// (rows).
    pub scales: &'a Buffer<f32>,
}

impl Quantise<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, NormShape { rows, hidden }) = (QUANTISE.name, self.shape);
        wide(name, "hidden", hidden, [EIGHT, i32::MAX as usize])?;
        fits(name, "x", self.x, &[rows, hidden])?;
        fits(name, "out", self.out, &[rows, hidden])?;
        fits(name, "scales", self.scales, &[rows])?;
        let arguments = arguments![self.x, self.out, self.scales, u32_of(name, hidden)?];
        let threads = (hidden / EIGHT).next_multiple_of(WARP).min(THREADS) as u32;
        Launch::new(QUANTISE, arguments).over([rows, 1], threads)
    }
}
