//! Weights that rows are multiplied with on a device, in its heads.

use super::Heads;
use crate::device::cuda::kernels::{Adapter, Adapters, Fp8Rows, Indices, LoraSums};
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::device::{Lora, Matrix};
use crate::error::Result;

/// Writes a row of a matrix.
pub type Read<'a> = dyn Fn(usize, &mut [f32]) -> Result<()> + 'a;

/// A weight as it lies in a file, and what belongs to it.
pub struct Given<'a> {
    /// Outputs and inputs.
    pub size: [usize; 2],
    pub read: &'a Read<'a>,
    /// (outputs), or none.
    pub bias: &'a [f32],
    /// What rows choose from.
    pub changes: &'a [Option<Lora>],
    /// Whether it is kept in FP8, and in bf16 otherwise.
    pub fp8: bool,
}

/// A weight with its adapters and bias.
pub struct Multiplied {
    pub adapters: Adapters,
    pub bias: Option<Buffer<f32>>,
}

/// A weight or a factor of a change of it, as it lies in a file, in the device's heads.
#[derive(Clone, Copy)]
pub struct Laid {
    pub heads: Heads,
    /// Its place in a layer: 0 for what gives queries, keys and values, 1 for what takes heads.
    pub site: usize,
}

impl Laid {
    /// Outputs and inputs of what has these in a file.
    fn size(self, [outputs, inputs]: [usize; 2]) -> [usize; 2] {
        let Heads { width, wide } = self.heads;
        match self.site {
            0 => [outputs / width * wide, inputs],
            1 => [outputs, inputs / width * wide],
            _ => [outputs, inputs],
        }
    }

    /// A row of the weight, which `read` writes as it lies in a file.
    fn row(self, read: &Read<'_>, row: usize, to: &mut [f32]) -> Result<()> {
        match (self.site, self.heads.row(row)) {
            (0, None) => to.fill(0.0),
            (0, Some(row)) => read(row, to)?,
            (1, _) if self.heads.width < self.heads.wide => {
                let mut narrow = vec![0.0; to.len() / self.heads.wide * self.heads.width];
                read(row, &mut narrow)?;
                self.heads.spread(&narrow, to);
            }
            _ => read(row, to)?,
        }
        Ok(())
    }

    /// (outputs, columns).
    pub fn outputs<T: Copy + Default>(&self, from: Vec<T>, columns: usize) -> Vec<T> {
        match self.site {
            0 => self.heads.rows(&from, columns),
            _ => from,
        }
    }

    /// (rows, inputs).
    pub fn inputs<T: Copy + Default>(&self, from: Vec<T>) -> Vec<T> {
        match self.site {
            1 => self.heads.columns(&from),
            _ => from,
        }
    }

    fn factors(&self, lora: &Lora) -> Factors {
        let (down, up, scale) = lora.factors();
        let ranks = down.outputs();
        let (down, up) = (self.inputs(unpacked(down)), self.outputs(unpacked(up), ranks));
        Factors { ranks, down, up, scale }
    }
}

/// A change of a weight, in the device's heads.
struct Factors {
    ranks: usize,
    down: Vec<f32>,
    up: Vec<f32>,
    scale: f32,
}

impl Factors {
    fn adapter(&self) -> Adapter<'_> {
        Adapter { ranks: self.ranks, down: &self.down, up: &self.up, scale: self.scale }
    }
}

impl Multiplied {
    /// Copies a weight with its bias and changes.
    pub fn of(driver: &dyn Driver, laid: Laid, from: &Given<'_>) -> Result<Self> {
        let factors: Vec<Option<Factors>> =
            from.changes.iter().map(|lora| Some(laid.factors(lora.as_ref()?))).collect();
        let changes: Vec<Option<Adapter<'_>>> =
            factors.iter().map(|factors| factors.as_ref().map(Factors::adapter)).collect();
        let mut row = |row: usize, to: &mut [f32]| laid.row(from.read, row, to);
        let mut adapters = Adapters::of_rows(driver, &mut row, laid.size(from.size), &changes)?;
        if from.fp8 {
            adapters = adapters.in_fp8(driver)?;
        }
        let bias = laid.outputs(from.bias.to_vec(), 1);
        let bias = (!bias.is_empty()).then(|| Buffer::of(driver, &bias)).transpose()?;
        Ok(Self { adapters, bias })
    }

    /// Rows times the weight and the downs of its adapters, to the beginning of a buffer. In `room`
    /// they become FP8 if the weight is.
    pub fn product(
        &self,
        driver: &dyn Driver,
        (rows, x): (usize, &Buffer<Bf16>),
        room: Option<&Fp8Rows>,
        to: &Buffer<Bf16>,
    ) -> Result<Sums> {
        let sums = to.slice(0..rows * self.adapters.columns())?;
        let x = x.slice(0..rows * self.adapters.inputs())?;
        let row_scales = self.adapters.multiply(driver, &x, room, &sums)?;
        Ok(Sums { sums, row_scales })
    }

    /// What such a product has left of some rows, of a weight that learns.
    pub fn left(&self, rows: usize, sums: &Buffer<Bf16>) -> Result<Sums> {
        let sums = sums.slice(0..rows * self.adapters.columns())?;
        Ok(Sums { sums, row_scales: None })
    }

    /// What such a product has left, and the adapter of each row.
    pub fn sums<'a>(
        &'a self,
        rows: usize,
        Sums { sums, row_scales }: &'a Sums,
        chosen: &'a Indices,
    ) -> LoraSums<'a> {
        let (adapters, bias) = (&self.adapters, self.bias.as_ref());
        LoraSums { rows, sums, adapters, chosen, bias, row_scales: row_scales.as_ref() }
    }
}

/// What a product has left, and what each of its rows is multiplied by if it was one of FP8 rows.
pub struct Sums {
    sums: Buffer<Bf16>,
    row_scales: Option<Buffer<f32>>,
}

/// A matrix row by row.
pub fn unpacked(matrix: &Matrix) -> Vec<f32> {
    let mut rows = vec![0.0; matrix.outputs() * matrix.inputs()];
    let width = matrix.inputs().max(1);
    rows.chunks_exact_mut(width).enumerate().for_each(|(row, to)| matrix.row(row, to));
    rows
}
