//! A product with each row's adapter, added to the stream, and the stream's norm.

use super::super::launch::{LORA_LAYER_NORM, LORA_RMS_NORM, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::lora_linear::follows;
use super::{Indices, LoraSums, fits};
use crate::error::{Error, Result};

/// x[r] = residual[from[r]] + the sums with their adapters and bias,
/// out = weight ⊙ x / √(mean(x²) + epsilon), row by row.
#[derive(Clone, Copy, Debug)]
pub struct LoraRmsNorm<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// (…, outputs): the stream; it may be `x` if there is no `from`.
    pub residual: &'a Buffer<f32>,
    /// (rows) rows of the residual; without it row r is r's.
    pub from: Option<&'a Indices>,
    /// (rows, outputs).
    pub x: &'a Buffer<f32>,
    /// (outputs).
    pub weight: &'a Buffer<f32>,
    /// Keeps a row of zeros finite.
    pub epsilon: f32,
    /// (rows, outputs).
    pub out: &'a Buffer<Bf16>,
    /// (rows): 1 / √(…), for the backward kernel.
    pub statistics: Option<&'a Buffer<f32>>,
}

/// x = residual + the sums with their adapters and bias,
/// out = stream = weight ⊙ (x − mean) / √(variance + epsilon) + bias, row by row.
#[derive(Clone, Copy, Debug)]
pub struct LoraLayerNorm<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// (rows, outputs): the stream before.
    pub residual: &'a Buffer<f32>,
    /// (rows, outputs): not the residual.
    pub x: &'a Buffer<f32>,
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
        let (name, rows) = (LORA_RMS_NORM.name, self.sums.rows);
        let outputs = self.sums.adapters.outputs();
        follows(name, [rows, outputs], (self.residual, self.from), self.x)?;
        fits(name, "weight", self.weight, &[outputs])?;
        fits(name, "out", self.out, &[rows, outputs])?;
        self.statistics
            .map_or(Ok(()), |statistics| fits(name, "statistics", statistics, &[rows]))?;
        let Self { residual, x, weight, epsilon, out, statistics, .. } = *self;
        let from = self.from.map(Indices::buffer);
        let more = arguments![residual, from, x, weight, epsilon, out, statistics];
        self.sums.launch_rows(LORA_RMS_NORM, more)
    }
}

impl LoraLayerNorm<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or x is the residual.
    pub fn launch(&self) -> Result<Launch> {
        let (name, rows) = (LORA_LAYER_NORM.name, self.sums.rows);
        let outputs = self.sums.adapters.outputs();
        follows(name, [rows, outputs], (self.residual, None), self.x)?;
        if self.x.view().address() == self.residual.view().address() {
            let why = "x needs another place than the stream, which changes";
            return Err(Error::Device(format!("{name}: {why}")));
        }
        fits(name, "affine", self.affine, &[2, outputs])?;
        fits(name, "stream", self.stream, &[rows, outputs])?;
        self.out.map_or(Ok(()), |out| fits(name, "out", out, &[rows, outputs]))?;
        fits(name, "statistics", self.statistics, &[rows, 2])?;
        let Self { residual, x, affine, epsilon, stream, out, statistics, .. } = *self;
        let more = arguments![residual, x, affine, epsilon, stream, out, statistics];
        self.sums.launch_rows(LORA_LAYER_NORM, more)
    }
}
