//! Adapters on a device, and the product that their ups are added to.

use super::super::driver::FP8_SIZES;
use super::super::launch::{Argument, Kernel, Launch, arguments};
use super::super::{Bf16, Buffer, Driver, Product, WriteRow};
use super::{Draw, EIGHT, Indices, Quantise, WARP, fits, u32_of, wide};
use crate::device::shape::NormShape;
use crate::error::{Error, Result};

/// Ranks are filled up to a multiple of this: the depth of a product of matrix units.
const RANKS: usize = 16;

/// Ranks as kernels take them.
pub fn filled(ranks: usize) -> usize {
    ranks.next_multiple_of(RANKS)
}

/// Rows of a block, and columns of a step of it.
const ROWS: usize = 64;
const COLUMNS: usize = 32;
const THREADS: u32 = 128;
/// Rows of a warp, and warps of a block that has all columns of its rows, at most.
const WARP_ROWS: usize = 16;
const WARPS: usize = 16;
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
    weight: Weight,
    ups: Buffer<Bf16>,
    table: Buffer<u32>,
}

/// (columns, inputs): a weight with the downs of its adapters.
#[derive(Clone, Debug)]
enum Weight {
    Bf16(Buffer<Bf16>),
    Fp8(Fp8Rows),
}

/// Rows in FP8, and what each is multiplied by.
#[derive(Clone, Debug)]
pub struct Fp8Rows {
    /// (rows, width): the numbers' bits.
    pub numbers: Buffer<u8>,
    /// (rows).
    pub scales: Buffer<f32>,
}

impl Fp8Rows {
    /// Room for so many rows of so many numbers.
    ///
    /// # Errors
    /// Those of [`Buffer::new`].
    pub fn new(driver: &dyn Driver, rows: usize, wide: usize) -> Result<Self> {
        let numbers = Buffer::new(driver, rows.saturating_mul(wide))?;
        Ok(Self { numbers, scales: Buffer::new(driver, rows)? })
    }

    /// Writes rows (rows, width) to its beginning, which is given back.
    ///
    /// # Errors
    /// Those of [`Quantise::launch`]; if there is no room for the rows.
    pub fn quantise(&self, driver: &dyn Driver, x: &Buffer<Bf16>, width: usize) -> Result<Self> {
        let shape = NormShape { rows: x.len() / width.max(1), hidden: width };
        let to = Self {
            numbers: self.numbers.slice(0..x.len())?,
            scales: self.scales.slice(0..shape.rows)?,
        };
        let call = Quantise { shape, x, out: &to.numbers, scales: &to.scales };
        driver.launch(&call.launch()?)?;
        Ok(to)
    }
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
        long("adapters", "weight", weight, [outputs, inputs])?;
        let mut row = |row: usize, to: &mut [f32]| {
            to.copy_from_slice(&weight[row * inputs..][..inputs]);
            Ok(())
        };
        Self::of_rows(driver, &mut row, [outputs, inputs], adapters)
    }

    /// As [`Adapters::of`], of a weight whose rows `row(output, to)` writes.
    ///
    /// # Errors
    /// Those of [`Adapters::of`]; the first one of `row`.
    pub fn of_rows(
        driver: &dyn Driver,
        row: &mut WriteRow<'_>,
        [outputs, inputs]: [usize; 2],
        adapters: &[Option<Adapter<'_>>],
    ) -> Result<Self> {
        let name = "adapters";
        wide(name, "outputs", outputs, [EIGHT, i32::MAX as usize])?;
        wide(name, "inputs", inputs, [EIGHT, i32::MAX as usize])?;
        let (mut downs, mut ups, mut table, mut ranks) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for adapter in adapters {
            let Some(Adapter { ranks: own, down, up, scale }) = *adapter else {
                table.extend([0; 4]);
                continue;
            };
            long(name, "down", down, [own, inputs])?;
            long(name, "up", up, [outputs, own])?;
            let filled = filled(own);
            let first = [u32_of(name, ranks)?, filled as u32, u32_of(name, ups.len())?];
            table.extend(first.into_iter().chain([scale.to_bits()]));
            downs.extend(down.iter().copied().map(Bf16::of));
            downs.resize(downs.len() + (filled - own) * inputs, Bf16::default());
            for output in 0..outputs {
                ups.extend(up[output * own..][..own].iter().copied().map(Bf16::of));
                ups.resize(ups.len() + filled - own, Bf16::default());
            }
            ranks += filled;
        }
        let weight = Buffer::new(driver, outputs * inputs + downs.len())?;
        weight.write_rows(driver, [outputs, inputs], row)?;
        weight.slice(outputs * inputs..weight.len())?.write(driver, &downs)?;
        let weight = Weight::Bf16(weight);
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
        let filled = filled(ranks);
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
        let (weight, table) = (Weight::Bf16(weight), Buffer::of(driver, &table)?);
        Ok(Self { inputs, outputs, ranks: count * filled, count, weight, ups, table })
    }

    /// The same with the weight and the downs in FP8: each of their rows has a scale. A rank's is
    /// in its columns of the ups from then on.
    ///
    /// # Errors
    /// If the device does not multiply FP8 numbers, there are more inputs than a row may have, or
    /// the device failed.
    pub fn in_fp8(self, driver: &dyn Driver) -> Result<Self> {
        let Weight::Bf16(weight) = &self.weight else { return Ok(self) };
        check_fp8(driver, [self.outputs, self.inputs])?;
        let rows = Fp8Rows::new(driver, self.columns(), self.inputs)?;
        let rows = rows.quantise(driver, weight, self.inputs)?;
        let scales = rows.scales.slice(self.outputs..self.columns())?.read(driver)?;
        let mut ups = self.ups.read(driver)?;
        for adapter in self.table.read(driver)?.chunks_exact(4) {
            let [rank, ranks, up] = [adapter[0], adapter[1], adapter[2]].map(|at| at as usize);
            let scales = &scales[rank..rank + ranks];
            for up in ups[up..up + ranks * self.outputs].chunks_exact_mut(ranks.max(1)) {
                up.iter_mut().zip(scales).for_each(|(up, s)| *up = Bf16::of(up.f32() * s));
            }
        }
        let ups = Buffer::of(driver, &ups)?; // others may have the old ones
        Ok(Self { weight: Weight::Fp8(rows), ups, ..self })
    }

    /// Rows (rows, inputs) times the weight, to (rows, [`Adapters::columns`]). What comes back is
    /// what [`LoraSums::row_scales`] has to be; in `room` rows become FP8, if the weight is.
    ///
    /// # Errors
    /// If there is no room, or the device failed.
    pub fn multiply(
        &self,
        driver: &dyn Driver,
        x: &Buffer<Bf16>,
        room: Option<&Fp8Rows>,
        sums: &Buffer<Bf16>,
    ) -> Result<Option<Buffer<f32>>> {
        let size = [x.len() / self.inputs, self.columns(), self.inputs];
        match &self.weight {
            Weight::Bf16(weight) => {
                driver.product(&Product::new(size, x, weight, sums)?)?;
                Ok(None)
            }
            Weight::Fp8(weight) => {
                let room = room.ok_or_else(|| {
                    Error::Device("adapters: there is no room for rows to become FP8".into())
                })?;
                let x = room.quantise(driver, x, self.inputs)?;
                driver.product(&Product::new(size, &x.numbers, &weight.numbers, sums)?)?;
                Ok(Some(x.scales))
            }
        }
    }

    /// Whether rows have to become FP8 to be multiplied.
    pub fn is_fp8(&self) -> bool {
        self.scales().is_some()
    }

    /// (columns, inputs): what rows are multiplied with.
    ///
    /// # Errors
    /// If it is in FP8: what learns is not.
    pub fn weight(&self) -> Result<&Buffer<Bf16>> {
        match &self.weight {
            Weight::Bf16(weight) => Ok(weight),
            Weight::Fp8(_) => Err(Error::Device("adapters: a weight in FP8 does not learn".into())),
        }
    }

    /// (ranks, inputs): the last rows of [`Adapters::weight`], all adapters' downs.
    ///
    /// # Errors
    /// Those of [`Adapters::weight`].
    pub fn downs(&self) -> Result<Buffer<Bf16>> {
        let weight = self.weight()?;
        weight.slice(self.outputs * self.inputs..weight.len())
    }

    /// What each of the weight's columns is multiplied by, if it is in FP8.
    fn scales(&self) -> Option<&Buffer<f32>> {
        match &self.weight {
            Weight::Bf16(_) => None,
            Weight::Fp8(rows) => Some(&rows.scales),
        }
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

/// That a device multiplies FP8 numbers, and weights of these outputs and inputs.
///
/// # Errors
/// If it does not.
pub fn check_fp8(driver: &dyn Driver, size: [usize; 2]) -> Result<()> {
    if !driver.has_fp8() {
        return Err(Error::Device(
            "precision = \"fp8\": expected a device of compute capability 8.9 or more, which \
             multiplies such numbers: use \"bf16\""
                .into(),
        ));
    }
    let [outputs, inputs] = size;
    if !size.iter().all(|size| size.is_multiple_of(FP8_SIZES)) {
        return Err(Error::Device(format!(
            "precision = \"fp8\": expected weights whose outputs and inputs are multiples of \
             {FP8_SIZES}, found {outputs} and {inputs}: use \"bf16\""
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
    /// (rows) what each row of an FP8 product is multiplied by.
    pub row_scales: Option<&'a Buffer<f32>>,
}

impl LoraSums<'_> {
    /// A launch that begins with the sums' arguments, for steps over `wide` columns.
    pub(super) fn launch(
        &self,
        kernel: Kernel,
        wide: usize,
        more: Vec<Argument>,
    ) -> Result<Launch> {
        let steps = wide.div_ceil(COLUMNS).div_ceil(STEPS);
        let blocks = [self.rows.div_ceil(ROWS), steps];
        Launch::new(kernel, self.arguments(kernel, more)?).over(blocks, THREADS)
    }

    /// The same for a kernel whose blocks have all columns of some rows.
    pub(super) fn launch_rows(&self, kernel: Kernel, more: Vec<Argument>) -> Result<Launch> {
        let steps = self.adapters.outputs.div_ceil(COLUMNS);
        let warps = steps.div_ceil(steps.div_ceil(WARPS)); // which have as many steps each
        let blocks = [self.rows.div_ceil(WARP_ROWS), 1];
        Launch::new(kernel, self.arguments(kernel, more)?).over(blocks, (warps * WARP) as u32)
    }

    fn arguments(&self, kernel: Kernel, more: Vec<Argument>) -> Result<Vec<Argument>> {
        let (name, Adapters { outputs, count, ups, table, .. }) = (kernel.name, self.adapters);
        let columns = self.adapters.columns();
        fits(name, "sums", self.sums, &[self.rows, columns])?;
        fits(name, "chosen", self.chosen.buffer(), &[self.rows])?;
        self.chosen.are_in(name, "chosen", *count)?;
        self.bias.map_or(Ok(()), |bias| fits(name, "bias", bias, &[*outputs]))?;
        let scales = self.adapters.scales();
        self.row_scales.map_or(Ok(()), |scales| fits(name, "row_scales", scales, &[self.rows]))?;
        if self.row_scales.is_some() != scales.is_some() {
            let why = "rows have scales if, and only if, the weight is in FP8";
            return Err(Error::Device(format!("{name}: {why}")));
        }
        let mut arguments = arguments![
            self.sums,
            ups,
            table,
            self.chosen.buffer(),
            self.bias,
            self.row_scales,
            scales
        ];
        for size in [self.rows, *outputs, columns] {
            arguments.push(u32_of(name, size)?.into());
        }
        arguments.extend(more);
        Ok(arguments)
    }
}
