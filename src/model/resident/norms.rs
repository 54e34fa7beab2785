//! Layer norms on a device: what they read, which stays for their gradient, and that gradient.

use super::Parameters;
use crate::device::cuda::kernels::{
    LayerNorm, LayerNormBackward, LoraLayerNorm, LoraResidual, LoraSums, NORM_ROWS, NormWeight,
};
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::device::shape::NormShape;
use crate::error::Result;
use std::ops::Range;

/// What a norm reads: (tokens, hidden), and (tokens, 2) for its gradient.
#[derive(Clone)]
pub struct Normed {
    pub x: Buffer<f32>,
    statistics: Buffer<f32>,
    hidden: usize,
}

impl Normed {
    /// Takes room for so many tokens.
    ///
    /// Errors, here and below: [`crate::error::Error::Device`] if the device fails.
    pub fn new(driver: &dyn Driver, tokens: usize, hidden: usize) -> Result<Self> {
        let (x, statistics) =
            (Buffer::new(driver, tokens * hidden)?, Buffer::new(driver, tokens * 2)?);
        Ok(Self { x, statistics, hidden })
    }

    /// out = norm(x), of as many rows as `out` has.
    pub fn norm(
        &self,
        driver: &dyn Driver,
        (affine, epsilon): (&Buffer<f32>, f32),
        out: &Buffer<f32>,
    ) -> Result<()> {
        let (shape, [x, statistics]) = self.rows(out.len())?;
        let (x, statistics) = (&x, &statistics);
        driver.launch(&LayerNorm { shape, x, affine, epsilon, out, statistics }.launch()?)
    }

    /// stream = norm(stream + what a product adds), of as many rows as it has; also as products
    /// read it, at the beginning of `rounded`.
    pub fn follow(
        &self,
        driver: &dyn Driver,
        sums: LoraSums<'_>,
        (affine, epsilon): (&Buffer<f32>, f32),
        stream: &Buffer<f32>,
        rounded: Option<&Buffer<Bf16>>,
    ) -> Result<()> {
        let (_, [x, statistics]) = self.rows(stream.len())?;
        let out = rounded.map(|rounded| rounded.slice(0..stream.len())).transpose()?;
        let call = LoraLayerNorm {
            x: LoraResidual { sums, residual: stream, from: None, out: &x },
            affine,
            epsilon,
            stream,
            out: out.as_ref(),
            statistics: &statistics,
        };
        driver.launch(&call.launch()?)
    }

    /// d_x += what comes through the norm from d_out. The gradient of its weight and bias is added
    /// to that of the parameters where they are, if they are trained.
    pub fn backward(
        &self,
        (parameters, parts): (&Parameters, &NormParts),
        (affine, trained): (&Buffer<f32>, Option<&Range<usize>>),
        [d_out, d_x]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (shape, [x, statistics]) = self.rows(d_x.len())?;
        let parts = &parts.0.slice(0..NormParts::numbers(shape.rows, self.hidden))?;
        let d_weight = trained.map(|place| parameters.gradient(place)).transpose()?;
        let d_affine = d_weight.as_ref().map(|d_weight| NormWeight { parts, d_weight });
        let (x, statistics) = (&x, &statistics);
        let call = LayerNormBackward { shape, x, affine, statistics, d_out, d_x, d_affine };
        parameters.driver.launch_all(&call.launches()?)
    }

    /// The first rows, of so many numbers: what the norm reads, and its statistics.
    fn rows(&self, numbers: usize) -> Result<(NormShape, [Buffer<f32>; 2])> {
        let shape = NormShape { rows: numbers / self.hidden, hidden: self.hidden };
        Ok((shape, [self.x.slice(0..numbers)?, self.statistics.slice(0..2 * shape.rows)?]))
    }
}

/// What the gradient of a norm's weight and bias is summed in, by blocks of rows.
pub struct NormParts(Buffer<f32>);

impl NormParts {
    /// Takes room for so many rows.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device has too little memory.
    pub fn new(driver: &dyn Driver, rows: usize, hidden: usize) -> Result<Self> {
        Ok(Self(Buffer::new(driver, Self::numbers(rows, hidden))?))
    }

    fn numbers(rows: usize, hidden: usize) -> usize {
        rows.div_ceil(NORM_ROWS) * 2 * hidden
    }
}
