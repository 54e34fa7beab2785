//! Launches that are timed, with what they must move and compute.

use super::rates::{Clock, drawn, median, median_after};
use super::table::{Row, Unit};
use steerage::device::cuda::kernels::Indices;
use steerage::device::cuda::{Argument, Bf16, Buffer, Driver, Launch};
use steerage::error::Result;
use steerage::types::mix64;

/// Dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// A batch of a decoder.
    pub tokens: usize,
    pub prompts: usize,
    pub candidates: usize,
    pub hidden: usize,
    pub inner: usize,
    pub heads: usize,
    pub shared: usize,
    pub vocabulary: usize,
    /// Of a retriever: rows of a step, their width, items.
    pub rows: usize,
    pub narrow: usize,
    pub items: usize,
    /// A search.
    pub users: usize,
    pub searched: usize,
    pub k: usize,
    /// Weights of an optimiser's step.
    pub weights: usize,
    pub repeat: usize,
}

/// Llama 3's 8 billion, 20 prompts of 800 tokens; a retriever of width 64.
pub const LARGE: Sizes = Sizes {
    tokens: 16_000,
    prompts: 20,
    candidates: 20,
    hidden: 4096,
    inner: 14_336,
    heads: 32,
    shared: 8,
    vocabulary: 128_256,
    rows: 65_536,
    narrow: 64,
    items: 20_000,
    users: 1024,
    searched: 1_000_000,
    k: 100,
    weights: 100_000_000,
    repeat: 20,
};

/// For an emulated device.
pub const TINY: Sizes = Sizes {
    tokens: 12,
    prompts: 2,
    candidates: 3,
    hidden: 64,
    inner: 32,
    heads: 2,
    shared: 1,
    vocabulary: 10,
    rows: 8,
    narrow: 8,
    items: 9,
    users: 3,
    searched: 70,
    k: 4,
    weights: 104,
    repeat: 1,
};

/// What was timed so far, and what to time with.
pub struct Bench<'a> {
    pub driver: &'a dyn Driver,
    pub clock: &'a Clock<'a>,
    pub sizes: Sizes,
    pub rows: Vec<Row>,
    /// Who is told of each row when it is there.
    pub told: &'a dyn Fn(&Row) -> Result<()>,
    /// Of the numbers that look random.
    pub seed: u64,
}

/// What a launch must do at least.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Bytes moved; if it is not said, all buffers once.
    pub bytes: Option<usize>,
    pub flops: f64,
    pub unit: Unit,
}

/// All buffers once, and no arithmetic to speak of.
pub const BUFFERS: Work = Work { bytes: None, flops: 0.0, unit: Unit::F32 };

/// So many bytes, and no arithmetic to speak of.
pub fn moves(bytes: usize) -> Work {
    Work { bytes: Some(bytes), ..BUFFERS }
}

/// All buffers once, and so many operations.
pub fn computes(flops: f64, unit: Unit) -> Work {
    Work { bytes: None, flops, unit }
}

impl<'a> Bench<'a> {
    pub fn new(driver: &'a dyn Driver, clock: &'a Clock<'a>, sizes: Sizes) -> Self {
        Self { driver, clock, sizes, rows: Vec::new(), told: &|_| Ok(()), seed: 0 }
    }

    fn push(&mut self, row: Row) -> Result<()> {
        (self.told)(&row)?;
        self.rows.push(row);
        Ok(())
    }

    /// Numbers that look random.
    pub fn f32(&mut self, length: usize) -> Result<Buffer<f32>> {
        self.seed += 1;
        drawn(self.driver, self.seed, length)
    }

    /// Numbers that look random.
    pub fn bf16(&mut self, length: usize) -> Result<Buffer<Bf16>> {
        self.seed += 1;
        drawn(self.driver, self.seed, length)
    }

    /// Rows of a table that look random.
    pub fn indices(&mut self, length: usize, below: usize) -> Result<Indices> {
        Indices::of(self.driver, &self.picks(length, below))
    }

    pub fn picks(&mut self, length: usize, below: usize) -> Vec<u32> {
        self.seed += 1;
        let key = mix64(self.seed);
        (0..length as u64).map(|i| (mix64(key ^ i) % below as u64) as u32).collect()
    }

    /// Times a launch.
    pub fn launch(&mut self, note: &str, launch: &Launch, work: Work) -> Result<()> {
        self.launch_after(note, &[], launch, work)
    }

    /// Times a launch that needs others before.
    pub fn launch_after(
        &mut self,
        note: &str,
        before: &[Launch],
        launch: &Launch,
        work: Work,
    ) -> Result<()> {
        let all = || {
            let buffers = launch.arguments().iter();
            buffers.map(|argument| match argument {
                Argument::Buffer(view) => view.bytes(),
                _ => 0,
            })
        };
        let bytes = work.bytes.unwrap_or_else(|| all().sum()) as f64;
        let mut prepare = || self.driver.launch_all(before);
        let run = &mut || self.driver.launch(launch);
        let seconds = median_after(self.clock, self.sizes.repeat, &mut prepare, run)?;
        let (kernel, note) = (launch.kernel().name, note.to_owned());
        let Work { flops, unit, .. } = work;
        self.push(Row { kernel, note, seconds, bytes, flops, unit })
    }

    /// Times launches that belong together.
    pub fn together(
        &mut self,
        (name, note): (&'static str, &str),
        launches: &[Launch],
        work: Work,
    ) -> Result<()> {
        let run = &mut || self.driver.launch_all(launches);
        let seconds = median(self.clock, self.sizes.repeat, run)?;
        let Work { bytes, flops, unit } = work;
        let (note, bytes) = (note.to_owned(), bytes.unwrap_or(0) as f64);
        self.push(Row { kernel: name, note, seconds, bytes, flops, unit })
    }
}
