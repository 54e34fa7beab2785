//! A vector for each sequence.

use super::super::launch::{Launch, POOL_LAST, POOL_MEAN, arguments};
use super::super::{Buffer, Driver};
use super::{fits, u32_of, wide};
use crate::error::{Error, Result};

const THREADS: u32 = 256;

/// What becomes of a sequence's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The last of them.
    Last,
}

/// Sequences that follow each other.
#[derive(Clone, Debug)]
pub struct Offsets {
    tokens: usize,
    buffer: Buffer<u32>,
}

impl Offsets {
    /// Copies offsets to the device: ascending from 0, one more than there are sequences.
    ///
    /// # Errors
    /// If they do not, or a sequence is empty; and those of [`Buffer::of`].
    pub fn of(driver: &dyn Driver, offsets: &[u32]) -> Result<Self> {
        if offsets.first() != Some(&0) || offsets.windows(2).any(|pair| pair[0] >= pair[1]) {
            let why = "pool: offsets must ascend from 0, no sequence empty";
            return Err(Error::Device(why.into()));
        }
        let tokens = offsets[offsets.len() - 1] as usize;
        Ok(Self { tokens, buffer: Buffer::of(driver, offsets)? })
    }
}

/// out[s] = the mean, or the last, of the rows of sequence s.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// Width of a row.
    pub hidden: usize,
    /// Which one.
    pub pooling: Pooling,
    /// (tokens, hidden).
    pub x: &'a Buffer<f32>,
    /// Where sequences begin.
    pub offsets: &'a Offsets,
    /// (sequences, hidden).
    pub out: &'a Buffer<f32>,
}

impl Pool<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let kernel = if self.pooling == Pooling::Mean { POOL_MEAN } else { POOL_LAST };
        let (name, hidden, Offsets { tokens, buffer }) = (kernel.name, self.hidden, self.offsets);
        let sequences = buffer.len() - 1;
        wide(name, "hidden", hidden, [1, i32::MAX as usize])?;
        fits(name, "x", self.x, &[*tokens, hidden])?;
        fits(name, "out", self.out, &[sequences, hidden])?;
        let arguments = arguments![self.x, buffer, self.out, u32_of(name, hidden)?];
        Launch::new(kernel, arguments).over([sequences, hidden.div_ceil(256)], THREADS)
    }
}
