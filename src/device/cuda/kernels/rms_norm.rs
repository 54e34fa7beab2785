//! Normalisation by the root mean square.

use super::super::launch::{Launch, RMS_NORM, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, WARP, fits, u32_of, wide};
use crate::device::shape::NormShape;
use crate::error::Result;

/// What a row can be wide: a block has at most 1024 threads.
pub(super) const HIDDEN_MAX: usize = 1024 * EIGHT;

/// out = weight ⊙ x / √(mean(x²) + epsilon), row by row.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm<'a> {
    /// Dimensions: `hidden` a multiple of 8, at most 8192.
    pub shape: NormShape,
    /// (rows, hidden).
    pub x: &'a Buffer<f32>,
    /// (hidden).
    pub weight: &'a Buffer<f32>,
    /// Keeps a row of zeros finite.
    pub epsilon: f32,
    /// (rows, hidden).
    pub out: &'a Buffer<Bf16>,
    /// (rows): 1 / √(…), for the backward kernel.
    pub statistics: Option<&'a Buffer<f32>>,
}

impl RmsNorm<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, NormShape { rows, hidden }) = (RMS_NORM.name, self.shape);
        wide(name, "hidden", hidden, [EIGHT, HIDDEN_MAX])?;
        fits(name, "x", self.x, &[rows, hidden])?;
        fits(name, "weight", self.weight, &[hidden])?;
        fits(name, "out", self.out, &[rows, hidden])?;
        self.statistics
            .map_or(Ok(()), |statistics| fits(name, "statistics", statistics, &[rows]))?;
        let Self { x, weight, epsilon, out, statistics, .. } = *self;
        let arguments = arguments![x, weight, out, statistics, u32_of(name, hidden)?, epsilon];
        let threads = (hidden / EIGHT).next_multiple_of(WARP) as u32;
        Launch::new(RMS_NORM, arguments).over([rows, 1], threads)
    }
}
