//! The gradients of what rows are multiplied with on a device.
//!
//! With r = x · downᵀ, which the forward product leaves beside its sums, and scale s,
//!
//! ```text
//! d_r = s · d_out · up        d_up   += s · d_outᵀ · r
//! d_x = d_out · W + d_r · down    d_down += d_rᵀ · x
//! ```
//!
//! and without adapters d_W += d_outᵀ · x. All of them are products of matrices; what is between
//! them is bf16, the gradients are f32.

use super::{Multiplied, Parameters, TrainedSite};
use crate::device::cuda::{Bf16, Buffer, Driver, Form, Output, Product};
use crate::error::Result;
use std::ops::Range;

/// What the gradients of sites are computed in.
pub struct SiteRoom {
    ranks: Buffer<Bf16>,
    ones: Buffer<Bf16>,
}

impl SiteRoom {
    /// For so many rows, and so many ranks of a site at most.
    pub fn new(driver: &dyn Driver, rows: usize, ranks: usize) -> Result<Self> {
        Ok(Self {
            ranks: Buffer::new(driver, rows * ranks)?,
            ones: Buffer::of(driver, &vec![Bf16::of(1.0); rows])?,
        })
    }
}

/// A site, what of it is trained, and what goes through it. Buffers may be longer than their rows.
pub struct SiteBackward<'a> {
    pub parameters: &'a Parameters,
    pub room: &'a SiteRoom,
    pub with: &'a Multiplied,
    pub trained: &'a TrainedSite,
    pub rows: usize,
    /// (rows, inputs).
    pub x: &'a Buffer<Bf16>,
    /// (rows, columns): what the forward product left.
    pub sums: &'a Buffer<Bf16>,
    /// (rows, outputs).
    pub d_out: &'a Buffer<Bf16>,
}

impl SiteBackward<'_> {
    /// d_x = the gradient of the site's rows, or d_x += that; its weight's or its factors' is added
    /// to the parameters'.
    pub fn run<T: Output>(&self, d_x: &Buffer<T>, add: bool) -> Result<()> {
        let Self { with, rows, d_out, .. } = *self;
        let (outputs, inputs) = (with.adapters.outputs(), with.adapters.inputs());
        let x = &self.x.slice(0..rows * inputs)?;
        let form = Form { b_turned: true, add, ..Form::default() };
        let size = [rows, inputs, outputs];
        let product = Product::of(size, d_out, with.adapters.weight()?, d_x, form)?;
        self.driver().product(&product)?;
        match self.trained {
            TrainedSite::Fixed => Ok(()),
            TrainedSite::Weight { weight, bias } => {
                self.sum_over_rows([outputs, inputs], (d_out, x), weight)?;
                let ones = &self.room.ones.slice(0..rows)?;
                bias.as_ref()
                    .map_or(Ok(()), |bias| self.sum_over_rows([1, outputs], (ones, d_out), bias))
            }
            TrainedSite::Adapter { .. } => self.factors(x, d_x),
        }
    }

    fn driver(&self) -> &dyn Driver {
        &*self.parameters.driver
    }

    /// The gradients of an adapter's factors, and what rows get through them.
    fn factors<T: Output>(&self, x: &Buffer<Bf16>, d_x: &Buffer<T>) -> Result<()> {
        let TrainedSite::Adapter { down, up, parts, scale } = self.trained else { return Ok(()) };
        let Self { rows, sums, d_out, .. } = *self;
        let (driver, adapters) = (self.driver(), &self.with.adapters);
        let (outputs, inputs, columns) =
            (adapters.outputs(), adapters.inputs(), adapters.columns());
        let ranks = columns - outputs;
        let d_ranks = &self.room.ranks.slice(0..rows * ranks)?;
        let form = Form { b_turned: true, scale: *scale, ..Form::default() };
        let size = [rows, ranks, outputs];
        driver.product(&Product::of(size, d_out, adapters.ups(), d_ranks, form)?)?;
        let form = Form { b_turned: true, add: true, ..Form::default() };
        let downs = &adapters.downs()?;
        driver.product(&Product::of([rows, inputs, ranks], d_ranks, downs, d_x, form)?)?;
        self.sum_over_rows([ranks, inputs], (d_ranks, x), down)?;
        for part in parts {
            let form = Form {
                a_turned: true,
                b_turned: true,
                apart: [outputs, columns, ranks],
                scale: *scale,
                add: true,
            };
            let a = &d_out.slice(part.outputs.start..rows * outputs)?;
            let b = &sums.slice(outputs + part.ranks.start..rows * columns)?;
            let first = up.start + part.outputs.start * ranks + part.ranks.start;
            let c = &self.parameters.gradient(&(first..up.end))?;
            let size = [part.outputs.len(), part.ranks.len(), rows];
            driver.product(&Product::of(size, a, b, c, form)?)?;
        }
        Ok(())
    }

    /// place += aᵀ · b, summed over the rows of both: the gradient of a weight.
    fn sum_over_rows(
        &self,
        [outputs, inputs]: [usize; 2],
        (a, b): (&Buffer<Bf16>, &Buffer<Bf16>),
        place: &Range<usize>,
    ) -> Result<()> {
        let form = Form { a_turned: true, b_turned: true, add: true, ..Form::default() };
        let to = &self.parameters.gradient(place)?;
        let product = Product::of([outputs, inputs, self.rows], a, b, to, form)?;
        self.driver().product(&product)
    }
}
