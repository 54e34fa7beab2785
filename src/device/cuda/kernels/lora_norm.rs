//! A product with each row's adapter, added to the stream, and the stream's norm.

use super::super::launch::{LORA_LAYER_NORM, LORA_RMS_NORM, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{Indices, LoraResidual, fits};
use crate::error::{Error, Result};

/// x = what is added to the stream, out = weight ⊙ x / √(mean(x²) + epsilon), row by row.
#[derive(Clone, Copy, Debug)]
pub struct LoraRmsNorm<'a> {
    /// Makes x.
    pub x: LoraResidual<'a>,
    /// (outputs).
    pub weight: &'a Buffer<f32>,
    /// Keeps a row of zeros finite.
    pub epsilon: f32,
    /// (rows, outputs).
    pub out: &'a Buffer<Bf16>,
    /// (rows): 1 / √(…), for the backward kernel.
    pub statistics: Option<&'a Buffer<f32>>,
}

/// x = what is added to the stream,
/// out = stream = weight ⊙ (x − mean) / √(variance + epsilon) + bias, row by row.
#[derive(Clone, Copy, Debug)]
pub struct LoraLayerNorm<'a> {
    /// Makes x, of each row's own residual, which is not x.
    pub x: LoraResidual<'a>,
    /// (2, outputs): weight, then bias.
    pub affine: &'a Buffer<f32>,
    /// Added to the variance.
    pub epsilon: f32,
    /// (rows, outputs): the stream afterwards; it may be the residual.
    pub stream: &'a Buffer<f32>,
    /// (rows, outputs): the same as products read it, if one will.
    pub out: Option<&'a Buffer<Bf16>>,
    /// (rows, 2): mean and 1 / √(…), for the backward kernel.
    pub statistics: &'a Buffer<f32>,
}

impl LoraRmsNorm<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row of the residual is not there.
    pub fn launch(&self) -> Result<Launch> {
        let (name, Self { x, weight, epsilon, out, statistics }) = (LORA_RMS_NORM.name, *self);
        let LoraResidual { sums, residual, from, out: to } = x;
        let (rows, outputs) = (sums.rows, sums.adapters.outputs());
        x.check(name)?;
        fits(name, "weight", weight, &[outputs])?;
        fits(name, "out", out, &[rows, outputs])?;
        statistics.map_or(Ok(()), |statistics| fits(name, "statistics", statistics, &[rows]))?;
        let from = from.map(Indices::buffer);
        let more = arguments![residual, from, to, weight, epsilon, out, statistics];
        sums.launch_rows(LORA_RMS_NORM, more)
    }
}

impl LoraLayerNorm<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, rows are added to others', or x is the
    /// residual.
    pub fn launch(&self) -> Result<Launch> {
        let (name, Self { x, affine, epsilon, stream, out, .. }) = (LORA_LAYER_NORM.name, *self);
        let LoraResidual { sums, residual, from, out: to } = x;
        let (rows, outputs) = (sums.rows, sums.adapters.outputs());
        x.check(name)?;
        if from.is_some() || to.view().address() == residual.view().address() {
            let why = "x needs another place than the stream, which changes, and its own rows";
            return Err(Error::Device(format!("{name}: {why}")));
        }
        fits(name, "affine", affine, &[2, outputs])?;
        fits(name, "stream", stream, &[rows, outputs])?;
        out.map_or(Ok(()), |out| fits(name, "out", out, &[rows, outputs]))?;
        fits(name, "statistics", self.statistics, &[rows, 2])?;
        let more = arguments![residual, to, affine, epsilon, stream, out, self.statistics];
        sums.launch_rows(LORA_LAYER_NORM, more)
    }
}
