//! Rows at their places among others, and zeros.

use super::super::Buffer;
use super::super::launch::{Launch, SPREAD, arguments};
use super::{EIGHT, Indices, fits, u32_of, wide};
use crate::error::{Error, Result};

const THREADS: u32 = 256;

/// out[r] = x[from[r]], or 0 where that is none.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// A multiple of 8.
    pub columns: usize,
    /// (…, columns), and which row of it each row is; nothing for zeros.
    pub x: Option<(&'a Buffer<f32>, &'a Indices)>,
    /// (rows, columns): another place than x.
    pub out: &'a Buffer<f32>,
}

impl Spread<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row is not there.
    pub fn launch(&self) -> Result<Launch> {
        let (name, Self { columns, x, out }) = (SPREAD.name, *self);
        wide(name, "columns", columns, [EIGHT, i32::MAX as usize])?;
        u32_of(name, out.len())?;
        let rows = out.len() / columns;
        fits(name, "out", out, &[rows, columns])?;
        if let Some((x, from)) = x {
            fits(name, "from", from.buffer(), &[rows])?;
            from.are_in(name, "from", x.len() / columns)?;
            if x.view().address() == out.view().address() {
                let why = "rows need another place to go to";
                return Err(Error::Device(format!("{name}: {why}")));
            }
        }
        let (x, from) = (x.map(|(x, _)| x), x.map(|(_, from)| from.buffer()));
        let sizes = [u32_of(name, rows)?, u32_of(name, columns)?];
        let blocks = out.len().div_ceil(EIGHT * THREADS as usize);
        let launch = Launch::new(SPREAD, arguments![x, from, out, sizes[0], sizes[1]]);
        launch.over([blocks, 1], THREADS)
    }
}
