//! The gradient of turning by position.

use super::super::launch::{Launch, ROTARY_BACKWARD, arguments};
use super::super::{Bf16, Buffer};
use super::{Indices, fits, u32_of, wide};
use crate::error::{Error, Result};

const THREADS: u32 = 256;

/// Turns queries' and keys' gradients back.
#[derive(Clone, Copy, Debug)]
pub struct RotaryBackward<'a> {
    /// How many heads a row has: queries, keys, values.
    pub heads: usize,
    /// How many of them were turned: the first ones.
    pub turned: usize,
    /// Width of a head: a multiple of 16.
    pub width: usize,
    /// (rows) rows of the table.
    pub positions: &'a Indices,
    /// (positions, width): cosines, then sines.
    pub table: &'a Buffer<f32>,
    /// (rows, heads · width), turned where it lies.
    pub d_qkv: &'a Buffer<Bf16>,
}

impl RotaryBackward<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a position is not in the table.
    pub fn launch(&self) -> Result<Launch> {
        let Self { heads, turned, width, positions, table, d_qkv } = *self;
        let (name, rows) = (ROTARY_BACKWARD.name, positions.len());
        wide(name, "width", width, [16, i32::MAX as usize])?;
        if turned > heads {
            return Err(Error::Device(format!("{name}: {turned} of {heads} heads are turned")));
        }
        fits(name, "d_qkv", d_qkv, &[rows, heads, width])?;
        positions.are_all(name, "positions")?;
        positions.are_in(name, "positions", table.len() / width)?;
        u32_of(name, heads.saturating_mul(width))?;
        let sizes = [heads as u32, turned as u32, width as u32];
        let positions = positions.buffer();
        let arguments = arguments![d_qkv, positions, table, sizes[0], sizes[1], sizes[2]];
        Launch::new(ROTARY_BACKWARD, arguments).over([rows, 1], THREADS)
    }
}
