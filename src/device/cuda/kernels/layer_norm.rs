//! Layer normalisation, and its gradient.

use super::super::Buffer;
use super::super::launch::{LAYER_NORM, LAYER_NORM_BACKWARD, Launch, arguments};
use super::{NORM_ROWS, NormWeight, fits, u32_of, wide};
use crate::device::shape::NormShape;
use crate::error::Result;

const THREADS: u32 = 128;
const HIDDEN_MAX: usize = 1024;

/// out = weight ⊙ (x − mean) / √(variance + epsilon) + bias, row by row.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// Dimensions: `hidden` at most 1024.
    pub shape: NormShape,
    /// (rows, hidden).
    pub x: &'a Buffer<f32>,
    /// (2, hidden): weight, then bias.
    pub affine: &'a Buffer<f32>,
    /// Added to the variance.
    pub epsilon: f32,
    /// (rows, hidden).
    pub out: &'a Buffer<f32>,
    /// (rows, 2): mean and 1 / √(…), for the backward kernel.
    pub statistics: &'a Buffer<f32>,
}

/// The gradient of [`LayerNorm`]. `d_x` is added to, since x also flows past the norm.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormBackward<'a> {
    /// As forward.
    pub shape: NormShape,
    /// As forward.
    pub x: &'a Buffer<f32>,
    /// As forward.
    pub affine: &'a Buffer<f32>,
    /// From the forward kernel.
    pub statistics: &'a Buffer<f32>,
    /// (rows, hidden).
    pub d_out: &'a Buffer<f32>,
    /// (rows, hidden), added to.
    pub d_x: &'a Buffer<f32>,
    /// Of weight and bias, if they are trained: (rows / 64, rounded up, 2, hidden) and (2, hidden).
    pub d_affine: Option<NormWeight<'a>>,
}

impl LayerNorm<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, NormShape { rows, hidden }) = (LAYER_NORM.name, self.shape);
        wide(name, "hidden", hidden, [1, HIDDEN_MAX])?;
        fits(name, "x", self.x, &[rows, hidden])?;
        fits(name, "affine", self.affine, &[2, hidden])?;
        fits(name, "out", self.out, &[rows, hidden])?;
        fits(name, "statistics", self.statistics, &[rows, 2])?;
        let Self { x, affine, epsilon, out, statistics, .. } = *self;
        let arguments = arguments![x, affine, out, statistics, u32_of(name, hidden)?, epsilon];
        Launch::new(LAYER_NORM, arguments).over([rows, 1], THREADS)
    }
}

impl LayerNormBackward<'_> {
    /// Checks the call: one launch, or two if weight and bias are trained.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launches(&self) -> Result<Vec<Launch>> {
        let (name, NormShape { rows, hidden }) = (LAYER_NORM_BACKWARD.name, self.shape);
        let blocks = rows.div_ceil(NORM_ROWS);
        wide(name, "hidden", hidden, [1, HIDDEN_MAX])?;
        fits(name, "x", self.x, &[rows, hidden])?;
        fits(name, "affine", self.affine, &[2, hidden])?;
        fits(name, "statistics", self.statistics, &[rows, 2])?;
        fits(name, "d_out", self.d_out, &[rows, hidden])?;
        fits(name, "d_x", self.d_x, &[rows, hidden])?;
        let parts = self.d_affine.map(|to| to.parts);
        parts.map_or(Ok(()), |parts| fits(name, "parts", parts, &[blocks, 2, hidden]))?;
        let Self { x, affine, statistics, d_out, d_x, .. } = *self;
        let (rows, columns) = (u32_of(name, rows)?, hidden as u32);
        let arguments = arguments![x, affine, statistics, d_out, d_x, parts, rows, columns];
        let mut launches =
            vec![Launch::new(LAYER_NORM_BACKWARD, arguments).over([blocks, 1], THREADS)?];
        if let Some(to) = self.d_affine {
            launches.push(to.sums(name, [blocks, 2 * hidden])?);
        }
        Ok(launches)
    }
}
