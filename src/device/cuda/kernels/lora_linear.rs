//! A product with each row's adapter, and what follows it.

use super::super::launch::{
    LORA_GATED, LORA_GELU, LORA_GELU_BACKWARD, LORA_LINEAR, LORA_QKV, LORA_RESIDUAL, Launch,
    arguments,
};
use super::super::{Bf16, Buffer};
use super::{EIGHT, Indices, LoraSums, fits, u32_of, wide};
use crate::error::{Error, Result};

/// out = the sums with their adapters and bias.
#[derive(Clone, Copy, Debug)]
pub struct LoraLinear<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// (rows, outputs).
    pub out: &'a Buffer<Bf16>,
}

/// out = gelu(the sums with their adapters and bias), gelu(x) = x · (1 + erf(x / √2)) / 2.
#[derive(Clone, Copy, Debug)]
pub struct LoraGelu<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// (rows, outputs).
    pub out: &'a Buffer<Bf16>,
}

/// The gradient of [`LoraGelu`] by the sums with their adapters and bias: d · gelu' of them.
#[derive(Clone, Copy, Debug)]
pub struct LoraGeluBackward<'a> {
    /// As forward.
    pub sums: LoraSums<'a>,
    /// (rows, outputs): the gradient by what came out, which becomes that by what went in.
    pub d: &'a Buffer<Bf16>,
}

/// out[r] = residual[from[r]] + the sums with their adapters and bias.
#[derive(Clone, Copy, Debug)]
pub struct LoraResidual<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// (…, outputs): the stream; it may be `out` if there is no `from`.
    pub residual: &'a Buffer<f32>,
    /// (rows) rows of the residual; without it row r is r's.
    pub from: Option<&'a Indices>,
    /// (rows, outputs).
    pub out: &'a Buffer<f32>,
}

/// out = silu(gates) ⊙ values, where gates and values are the halves of the sums with their
/// adapters and bias.
#[derive(Clone, Copy, Debug)]
pub struct LoraGated<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// (rows, outputs / 2).
    pub out: &'a Buffer<Bf16>,
}

/// out = the sums with their adapters and bias, the queries' and keys' heads turned by position.
#[derive(Clone, Copy, Debug)]
pub struct LoraQkv<'a> {
    /// What is added to.
    pub sums: LoraSums<'a>,
    /// Heads of the queries and of the keys: what is turned. The values' follow.
    pub turned: usize,
    /// Width of a head: a multiple of 64.
    pub width: usize,
    /// (rows) rows of the table.
    pub positions: &'a Indices,
    /// (positions, width): cosines, then sines.
    pub table: &'a Buffer<f32>,
    /// (rows, outputs).
    pub out: &'a Buffer<Bf16>,
}

impl LoraLinear<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let outputs = self.sums.adapters.outputs();
        fits(LORA_LINEAR.name, "out", self.out, &[self.sums.rows, outputs])?;
        self.sums.launch(LORA_LINEAR, outputs, arguments![self.out])
    }
}

impl LoraGelu<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let outputs = self.sums.adapters.outputs();
        fits(LORA_GELU.name, "out", self.out, &[self.sums.rows, outputs])?;
        self.sums.launch(LORA_GELU, outputs, arguments![self.out])
    }
}

impl LoraGeluBackward<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let outputs = self.sums.adapters.outputs();
        fits(LORA_GELU_BACKWARD.name, "d", self.d, &[self.sums.rows, outputs])?;
        self.sums.launch(LORA_GELU_BACKWARD, outputs, arguments![self.d])
    }
}

impl LoraResidual<'_> {
    /// That the stream has the rows that are added to, and that there is room for what comes out.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let Self { sums, residual, from, out } = *self;
        let (rows, outputs) = (sums.rows, sums.adapters.outputs());
        fits(name, "out", out, &[rows, outputs])?;
        let Some(from) = from else { return fits(name, "residual", residual, &[rows, outputs]) };
        fits(name, "from", from.buffer(), &[rows])?;
        from.are_all(name, "from")?;
        from.are_in(name, "from", residual.len() / outputs)?;
        if residual.view().address() == out.view().address() {
            let why = "rows that come from others need another place to go to";
            return Err(Error::Device(format!("{name}: {why}")));
        }
        Ok(())
    }

    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row of the residual is not there.
    pub fn launch(&self) -> Result<Launch> {
        let outputs = self.sums.adapters.outputs();
        self.check(LORA_RESIDUAL.name)?;
        let from = self.from.map(Indices::buffer);
        self.sums.launch(LORA_RESIDUAL, outputs, arguments![self.residual, from, self.out])
    }
}

impl LoraGated<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (name, outputs) = (LORA_GATED.name, self.sums.adapters.outputs());
        wide(name, "outputs", outputs, [2 * EIGHT, i32::MAX as usize])?;
        fits(name, "out", self.out, &[self.sums.rows, outputs / 2])?;
        self.sums.launch(LORA_GATED, outputs / 2, arguments![self.out])
    }
}

impl LoraQkv<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a position is not in the table.
    pub fn launch(&self) -> Result<Launch> {
        let (name, rows, width) = (LORA_QKV.name, self.sums.rows, self.width);
        let outputs = self.sums.adapters.outputs();
        wide(name, "width", width, [64, i32::MAX as usize])?;
        wide(name, "outputs", outputs, [width, i32::MAX as usize])?;
        fits(name, "out", self.out, &[rows, outputs])?;
        fits(name, "positions", self.positions.buffer(), &[rows])?;
        self.positions.are_all(name, "positions")?;
        self.positions.are_in(name, "positions", self.table.len() / width)?;
        let turned = u32_of(name, self.turned.saturating_mul(width))?;
        let positions = self.positions.buffer();
        let more = arguments![positions, self.table, turned, u32_of(name, width)?, self.out];
        self.sums.launch(LORA_QKV, outputs / 2, more)
    }
}
