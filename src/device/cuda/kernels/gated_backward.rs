//! The gradient of the activation between a decoder's two forward products.

use super::super::launch::{GATED_BACKWARD, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, fits, u32_of, wide};
use crate::device::shape::GatedShape;
use crate::error::Result;

const THREADS: u32 = 256;

/// The gradient of silu(gates) ⊙ values.
#[derive(Clone, Copy, Debug)]
pub struct GatedBackward<'a> {
    /// Dimensions: `hidden` a multiple of 8.
    pub shape: GatedShape,
    /// (rows, 2 · hidden): gates, then values.
    pub x: &'a Buffer<Bf16>,
    /// (rows, hidden).
    pub d_out: &'a Buffer<Bf16>,
    /// (rows, 2 · hidden): of gates, then of values.
    pub d_x: &'a Buffer<Bf16>,
}

impl GatedBackward<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, GatedShape { rows, hidden }) = (GATED_BACKWARD.name, self.shape);
        wide(name, "hidden", hidden, [EIGHT, i32::MAX as usize])?;
        fits(name, "x", self.x, &[rows, 2, hidden])?;
        fits(name, "d_out", self.d_out, &[rows, hidden])?;
        fits(name, "d_x", self.d_x, &[rows, 2, hidden])?;
        let arguments = arguments![self.x, self.d_out, self.d_x, u32_of(name, hidden)?];
        let blocks = hidden.div_ceil(EIGHT * THREADS as usize);
        Launch::new(GATED_BACKWARD, arguments).over([rows, blocks], THREADS)
    }
}
