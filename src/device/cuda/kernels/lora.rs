//! Adapters on a device, and the product that their ups are added to.

use super::super::launch::{Argument, Kernel, Launch, arguments};
use super::super::{Bf16, Buffer, Driver};
use super::{Draw, EIGHT, Indices, fits, u32_of, wide};
use crate::error::{Error, Result};

/// Ranks are filled up to a multiple of this: the depth of a product of matrix units.
const RANKS: usize = 16;
/// Rows of a block, and columns of a step of it.
const ROWS: usize = 64;
const COLUMNS: usize = 32;
const THREADS: u32 = 128;
/// Steps of a block: enough to have its rows' numbers at hand again, few enough for many blocks.
const STEPS: usize = 8;

/// A low-rank change of a weight: scale · up · down.
#[derive(Clone, Copy, Debug)]
pub struct Adapter<'a> {
    /// How many rows `down` has.
    pub ranks: usize,
    /// (ranks, inputs).
    pub down: &'a [f32],
    /// (outputs, ranks).
    pub up: &'a [f32],
    /// What the product is multiplied by.
    pub scale: f32,
}

/// A weight and its adapters: the downs are further outputs of the weight, the ups are apart.
#[derive(Clone, Debug)]
pub struct Adapters {
    inputs: usize,
    outputs: usize,
    ranks: usize,
    count: usize,
    weight: Buffer<Bf16>,
    ups: Buffer<Bf16>,
    table: Buffer<u32>,
}

impl Adapters {
    /// Rounds a weight (outputs, inputs) and its adapters to bf16 and copies them to the device. An
    /// adapter that leaves this weight as it is is none.
    ///
    /// # Errors
    /// If a matrix's length is another than its size, or the device failed.
    pub fn of(
        driver: &dyn Driver,
        weight: &[f32],
        [outputs, inputs]: [usize; 2],
        adapters: &[Option<Adapter<'_>>],
    ) -> Result<Self> {
        let name = "adapters";
        long(name, "weight", weight, [outputs, inputs])?;
        wide(name, "outputs", outputs, [EIGHT, i32::MAX as usize])?;
        wide(name, "inputs", inputs, [EIGHT, i32::MAX as usize])?;
        let mut packed: Vec<Bf16> = weight.iter().copied().map(Bf16::of).collect();
        let (mut ups, mut table, mut ranks) = (Vec::new(), Vec::new(), 0);
        for adapter in adapters {
            let Some(Adapter { ranks: own, down, up, scale }) = *adapter else {
                table.extend([0; 4]);
                continue;
            };
            long(name, "down", down, [own, inputs])?;
            long(name, "up", up, [outputs, own])?;
            let filled = own.next_multiple_of(RANKS);
            let first = [u32_of(name, ranks)?, filled as u32, u32_of(name, ups.len())?];
            table.extend(first.into_iter().chain([scale.to_bits()]));
            packed.extend(down.iter().copied().map(Bf16::of));
            packed.resize(packed.len() + (filled - own) * inputs, Bf16::default());
            for output in 0..outputs {
                ups.extend(up[output * own..][..own].iter().copied().map(Bf16::of));
                ups.resize(ups.len() + filled - own, Bf16::default());
            }
            ranks += filled;
        }
        let weight = Buffer::of(driver, &packed)?;
        let (ups, table) = (Buffer::of(driver, &ups)?, Buffer::of(driver, &table)?);
        Ok(Self { inputs, outputs, ranks, count: adapters.len(), weight, ups, table })
    }

    /// A weight (outputs, inputs) and some adapters that look random, made on the device: for
    /// measurements. What comes out is about as large as what goes in, and adapters add a tenth.
    ///
    /// # Errors
    /// If a dimension is not a multiple of 8, or the device failed.
    pub fn drawn(
        driver: &dyn Driver,
        [outputs, inputs]: [usize; 2],
        [count, ranks]: [usize; 2],
        seed: u64,
    ) -> Result<Self> {
        let name = "adapters";
        wide(name, "outputs", outputs, [EIGHT, i32::MAX as usize])?;
        wide(name, "inputs", inputs, [EIGHT, i32::MAX as usize])?;
        let filled = ranks.next_multiple_of(RANKS);
        let weight = Buffer::new(driver, (outputs + count * filled) * inputs)?;
        let ups = Buffer::new(driver, count * filled * outputs)?;
        // The variance of a fraction is 1 / 12.
        let even = |inputs: usize| (12.0 / inputs.max(1) as f32).sqrt();
        driver.launch(&Draw { seed, scale: even(inputs), out: &weight }.launch()?)?;
        driver.launch(&Draw { seed: !seed, scale: 0.1 * even(filled), out: &ups }.launch()?)?;
        let mut table = Vec::new();
        for adapter in 0..count {
            let up = u32_of(name, adapter * filled * outputs)?;
            table.extend([u32_of(name, adapter * filled)?, filled as u32, up, 1f32.to_bits()]);
        }
        let table = Buffer::of(driver, &table)?;
        Ok(Self { inputs, outputs, ranks: count * filled, count, weight, ups, table })
    }

    /// (columns, inputs): what rows are multiplied with.
    pub fn weight(&self) -> &Buffer<Bf16> {
        &self.weight
    }

    /// (ranks, inputs): the last rows of [`Adapters::weight`], all adapters' downs.
    ///
    /// # Errors
    /// None: the weight has them.
    pub fn downs(&self) -> Result<Buffer<Bf16>> {
        self.weight.slice(self.outputs * self.inputs..self.weight.len())
    }

    /// Each adapter's up (outputs, ranks), one after the other.
    pub fn ups(&self) -> &Buffer<Bf16> {
        &self.ups
    }

    /// How many outputs the product has: the weight's, then all adapters' ranks.
    pub fn columns(&self) -> usize {
        self.outputs + self.ranks
    }

    /// How many outputs there are when the adapters are added.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }
}

fn long(kernel: &str, name: &str, matrix: &[f32], size: [usize; 2]) -> Result<()> {
    if size[0].checked_mul(size[1]) != Some(matrix.len()) {
        return Err(Error::Device(format!(
            "{kernel}: {name}: expected {size:?} numbers, found {}",
            matrix.len()
        )));
    }
    Ok(())
}

/// What a product with [`Adapters::weight`] has left, and which adapter each row adds.
#[derive(Clone, Copy, Debug)]
pub struct LoraSums<'a> {
    /// How many rows.
    pub rows: usize,
    /// (rows, [`Adapters::columns`]).
    pub sums: &'a Buffer<Bf16>,
    /// The weight's.
    pub adapters: &'a Adapters,
    /// (rows) each row's adapter, or none.
    pub chosen: &'a Indices,
    /// (outputs), or 0.
    pub bias: Option<&'a Buffer<f32>>,
}

impl LoraSums<'_> {
    /// A launch that begins with the sums' arguments, for steps over `wide` columns.
    pub(super) fn launch(
        &self,
        kernel: Kernel,
        wide: usize,
        more: Vec<Argument>,
    ) -> Result<Launch> {
        let (name, Adapters { outputs, count, ups, table, .. }) = (kernel.name, self.adapters);
        let columns = self.adapters.columns();
        fits(name, "sums", self.sums, &[self.rows, columns])?;
        fits(name, "chosen", self.chosen.buffer(), &[self.rows])?;
        self.chosen.are_in(name, "chosen", *count)?;
        self.bias.map_or(Ok(()), |bias| fits(name, "bias", bias, &[*outputs]))?;
        let mut arguments = arguments![self.sums, ups, table, self.chosen.buffer(), self.bias];
        for size in [self.rows, *outputs, columns] {
            arguments.push(u32_of(name, size)?.into());
        }
        arguments.extend(more);
        let steps = wide.div_ceil(COLUMNS).div_ceil(STEPS);
        Launch::new(kernel, arguments).over([self.rows.div_ceil(ROWS), steps], THREADS)
    }
}
