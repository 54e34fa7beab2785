//! What follows a product element by element, and its gradient.

use super::super::launch::{LINEAR, LINEAR_BACKWARD, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{Dropout, by_columns, fits, u32_of};
use crate::device::Activation;
use crate::error::Result;

/// out = drop(activation(sums + bias)) + residual.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Rows, outputs.
    pub size: [usize; 2],
    /// (rows, outputs): a product.
    pub sums: &'a Buffer<f32>,
    /// (outputs), or 0.
    pub bias: Option<&'a Buffer<f32>>,
    /// After the bias.
    pub activation: Activation,
    /// By row, after the activation.
    pub dropout: Dropout<'a>,
    /// (rows, outputs), or 0.
    pub residual: Option<&'a Buffer<f32>>,
    /// (rows, outputs); may be the sums or the residual.
    pub out: &'a Buffer<f32>,
}

/// The gradient of [`Linear`] by its sums; what is left are products.
#[derive(Clone, Copy, Debug)]
pub struct LinearBackward<'a> {
    /// Rows, outputs.
    pub size: [usize; 2],
    /// (rows, outputs).
    pub d_out: &'a Buffer<f32>,
    /// (rows, outputs): what came out without a residual, after `Relu`; none after `Identity`.
    pub active: Option<&'a Buffer<f32>>,
    /// As forward.
    pub dropout: Dropout<'a>,
    /// (rows, outputs): what the bias's gradient sums.
    pub d_sums: &'a Buffer<f32>,
    /// (rows, outputs): the same, as products read it.
    pub rounded: &'a Buffer<Bf16>,
}

impl Linear<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, [rows, outputs]) = (LINEAR.name, self.size);
        fits(name, "sums", self.sums, &self.size)?;
        fits(name, "out", self.out, &self.size)?;
        self.bias.map_or(Ok(()), |bias| fits(name, "bias", bias, &[outputs]))?;
        self.residual.map_or(Ok(()), |residual| fits(name, "residual", residual, &self.size))?;
        let relu = u32::from(self.activation == Activation::Relu);
        let (width, Self { sums, bias, residual, out, .. }) = (u32_of(name, outputs)?, self);
        let mut arguments = arguments![*sums, *bias, *residual, *out, width, relu];
        arguments.extend(self.dropout.arguments(name, rows)?);
        let (blocks, threads) = by_columns(outputs);
        Launch::new(LINEAR, arguments).over([rows, blocks], threads)
    }
}

impl LinearBackward<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, [rows, outputs]) = (LINEAR_BACKWARD.name, self.size);
        fits(name, "d_out", self.d_out, &self.size)?;
        fits(name, "d_sums", self.d_sums, &self.size)?;
        fits(name, "rounded", self.rounded, &self.size)?;
        self.active.map_or(Ok(()), |active| fits(name, "active", active, &self.size))?;
        let (width, Self { d_out, active, d_sums, rounded, .. }) = (u32_of(name, outputs)?, self);
        let mut arguments = arguments![*d_out, *active, *d_sums, *rounded, width];
        arguments.extend(self.dropout.arguments(name, rows)?);
        let (blocks, threads) = by_columns(outputs);
        Launch::new(LINEAR_BACKWARD, arguments).over([rows, blocks], threads)
    }
}
