//! A vector for each sequence, and the gradient of a mean.

use super::super::launch::{
    Argument, Kernel, Launch, POOL_LAST, POOL_MEAN, POOL_MEAN_BACKWARD, arguments,
};
use super::super::{Buffer, Driver};
use super::{by_columns, fits, u32_of, wide};
use crate::error::{Error, Result};

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

    fn sequences(&self) -> usize {
        self.buffer.len() - 1
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

/// The gradient of [`Pool`] by the mean: each row of a sequence gets its share of the sequence's.
#[derive(Clone, Copy, Debug)]
pub struct PoolBackward<'a> {
    /// Width of a row.
    pub hidden: usize,
    /// Where sequences begin.
    pub offsets: &'a Offsets,
    /// (sequences, hidden).
    pub d_out: &'a Buffer<f32>,
    /// (tokens, hidden).
    pub d_x: &'a Buffer<f32>,
}

impl Pool<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let kernel = if self.pooling == Pooling::Mean { POOL_MEAN } else { POOL_LAST };
        let Self { hidden, x, offsets, out, .. } = *self;
        let width = checked(kernel, hidden, offsets, [("x", x), ("out", out)])?;
        over(kernel, hidden, offsets, arguments![x, &offsets.buffer, out, width])
    }
}

impl PoolBackward<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape.
    pub fn launch(&self) -> Result<Launch> {
        let (kernel, Self { hidden, offsets, d_out, d_x }) = (POOL_MEAN_BACKWARD, *self);
        let width = checked(kernel, hidden, offsets, [("d_x", d_x), ("d_out", d_out)])?;
        over(kernel, hidden, offsets, arguments![d_out, &offsets.buffer, d_x, width])
    }
}

/// The width as an argument, if tokens' rows and sequences' are as many as the offsets say.
fn checked(
    Kernel { name, .. }: Kernel,
    hidden: usize,
    offsets: &Offsets,
    [tokens, sequences]: [(&str, &Buffer<f32>); 2],
) -> Result<u32> {
    wide(name, "hidden", hidden, [1, i32::MAX as usize])?;
    fits(name, tokens.0, tokens.1, &[offsets.tokens, hidden])?;
    fits(name, sequences.0, sequences.1, &[offsets.sequences(), hidden])?;
    u32_of(name, hidden)
}

/// A thread has a column of a sequence.
fn over(
    kernel: Kernel,
    hidden: usize,
    offsets: &Offsets,
    arguments: Vec<Argument>,
) -> Result<Launch> {
    let (blocks, threads) = by_columns(hidden);
    Launch::new(kernel, arguments).over([offsets.sequences(), blocks], threads)
}
