//! The gradient of normalisation by the root mean square.

use super::super::launch::{COLUMN_SUMS, Launch, RMS_NORM_BACKWARD, arguments};
use super::super::{Bf16, Buffer};
use super::rms_norm::HIDDEN_MAX;
use super::{EIGHT, WARP, fits, u32_of, wide};
use crate::device::shape::NormShape;
use crate::error::Result;

/// Rows that a block of a norm's gradient adds up.
pub const NORM_ROWS: usize = 64;
/// Columns of a block that adds up what blocks have left.
const SUMS_THREADS: u32 = 256;

/// The gradient of [`super::RmsNorm`]. `d_x` is added to, since x also flows past the norm.
#[derive(Clone, Copy, Debug)]
pub struct RmsNormBackward<'a> {
    /// Dimensions: `hidden` a multiple of 8, at most 8192.
    pub shape: NormShape,
    /// (rows, hidden): the stream as the forward kernel left it.
    pub x: &'a Buffer<f32>,
    /// (rows) from the forward kernel.
    pub statistics: &'a Buffer<f32>,
    /// (hidden).
    pub weight: &'a Buffer<f32>,
    /// (rows, hidden).
    pub d_out: &'a Buffer<Bf16>,
    /// (rows, hidden), added to.
    pub d_x: &'a Buffer<f32>,
    /// Of a weight that is trained.
    pub d_weight: Option<NormWeight<'a>>,
}

/// Where a norm's weight's gradient goes; of a layer norm, also its bias's.
#[derive(Clone, Copy, Debug)]
pub struct NormWeight<'a> {
    /// (rows / 64, rounded up, hidden): scratch. Of a layer norm, which has a bias, 2 · hidden.
    pub parts: &'a Buffer<f32>,
    /// (hidden), added to; or (2, hidden).
    pub d_weight: &'a Buffer<f32>,
}

impl NormWeight<'_> {
    /// The launch that adds up what blocks have left, (blocks, columns).
    pub(super) fn sums(&self, kernel: &str, [blocks, columns]: [usize; 2]) -> Result<Launch> {
        fits(kernel, "d_weight", self.d_weight, &[columns])?;
        let sizes = [u32_of(kernel, blocks)?, u32_of(kernel, columns)?];
        let arguments = arguments![self.parts, self.d_weight, sizes[0], sizes[1]];
        let blocks = columns.div_ceil(SUMS_THREADS as usize);
        Launch::new(COLUMN_SUMS, arguments).over([blocks, 1], SUMS_THREADS)
    }
}

impl RmsNormBackward<'_> {
    /// Checks the call: one launch, or two if the weight is trained.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launches(&self) -> Result<Vec<Launch>> {
        let (name, NormShape { rows, hidden }) = (RMS_NORM_BACKWARD.name, self.shape);
        wide(name, "hidden", hidden, [EIGHT, HIDDEN_MAX])?;
        fits(name, "x", self.x, &[rows, hidden])?;
        fits(name, "statistics", self.statistics, &[rows])?;
        fits(name, "weight", self.weight, &[hidden])?;
        fits(name, "d_out", self.d_out, &[rows, hidden])?;
        fits(name, "d_x", self.d_x, &[rows, hidden])?;
        let (blocks, columns) = (rows.div_ceil(NORM_ROWS), u32_of(name, hidden)?);
        let parts = self.d_weight.map(|to| to.parts);
        parts.map_or(Ok(()), |parts| fits(name, "parts", parts, &[blocks, hidden]))?;
        let Self { x, statistics, weight, d_out, d_x, .. } = *self;
        let rows = u32_of(name, rows)?;
        let arguments = arguments![x, statistics, weight, d_out, d_x, parts, rows, columns];
        let threads = (hidden / EIGHT).next_multiple_of(WARP) as u32;
        let mut launches =
            vec![Launch::new(RMS_NORM_BACKWARD, arguments).over([blocks, 1], threads)?];
        if let Some(to) = self.d_weight {
            launches.push(to.sums(name, [blocks, hidden])?);
        }
        Ok(launches)
    }
}
