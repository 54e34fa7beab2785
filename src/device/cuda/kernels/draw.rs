//! Numbers that look random, made on the device: for measurements.

use super::super::launch::{DRAW_BF16, DRAW_F32, Kernel, Launch, arguments};
use super::super::{Bf16, Buffer, Element};
use super::u32_of;
use crate::error::Result;

const THREADS: u32 = 256;

/// What can be drawn.
pub trait DrawNumber: Element {
    /// Draws numbers of this type.
    const KERNEL: Kernel;
}
impl DrawNumber for f32 {
    const KERNEL: Kernel = DRAW_F32;
}
impl DrawNumber for Bf16 {
    const KERNEL: Kernel = DRAW_BF16;
}

/// out[i] = scale · (u[i] − ½), where u[i] is the upper 24 bits of `mix64(seed + i)` as a fraction.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a, T> {
    /// What the numbers depend on, besides their places.
    pub seed: u64,
    /// How far apart the smallest and the largest are.
    pub scale: f32,
    /// As many as there is room for.
    pub out: &'a Buffer<T>,
}

impl<T: DrawNumber> Draw<'_, T> {
    /// Checks the call.
    ///
    /// # Errors
    /// If there are too many numbers.
    pub fn launch(&self) -> Result<Launch> {
        let (count, [low, high]) = (self.out.len(), [self.seed as u32, (self.seed >> 32) as u32]);
        let arguments = arguments![self.out, low, high, u32_of(T::KERNEL.name, count)?, self.scale];
        Launch::new(T::KERNEL, arguments).over([count.div_ceil(THREADS as usize), 1], THREADS)
    }
}
