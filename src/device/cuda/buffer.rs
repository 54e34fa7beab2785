//! Numbers in a device's memory.

use super::driver::{Driver, Memory};
use super::element::{Bf16, Element, Kind, bytes, bytes_mut};
use crate::error::{Error, Result};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are copied together of what is written row by row.
const BLOCK_BYTES: usize = 4 << 20;

/// Some numbers of a device's memory. A clone is the same memory, which is given back with the last
/// of them; kernels may change what it holds.
#[derive(Clone, Debug)]
pub struct Buffer<T> {
    view: View,
    holds: PhantomData<T>,
}

/// A [`Buffer`] of any type.
#[derive(Clone, Debug)]
pub struct View {
    memory: Arc<dyn Memory>,
    start_bytes: usize,
    bytes: usize,
    kind: Kind,
}

impl<T: Element> Buffer<T> {
    /// Takes room for some numbers; what they are means nothing.
    ///
    /// # Errors
    /// Those of [`Driver::take`].
    pub fn new(driver: &dyn Driver, length: usize) -> Result<Self> {
        let Some(bytes) = length.checked_mul(size_of::<T>()) else {
            return Err(Error::Device(format!("a buffer of {length} numbers is too large")));
        };
        let view = View::new(driver.take(bytes)?, bytes, T::KIND);
        Ok(Self { view, holds: PhantomData })
    }

    /// Takes room for these numbers, and copies them there.
    ///
    /// # Errors
    /// Those of [`Driver::place`].
    pub fn of(driver: &dyn Driver, numbers: &[T]) -> Result<Self> {
        Ok(Self { view: driver.place(bytes(numbers), T::KIND)?, holds: PhantomData })
    }

    /// Copies numbers to the device, as many as there are.
    ///
    /// # Errors
    /// If they are fewer or more; and those of [`Driver::upload`].
    pub fn write(&self, driver: &dyn Driver, numbers: &[T]) -> Result<()> {
        if numbers.len() != self.len() {
            return Err(Error::Device(format!(
                "a buffer of {} numbers cannot be written with {}",
                self.len(),
                numbers.len()
            )));
        }
        driver.upload(bytes(numbers), &self.view)
    }

    /// Copies the numbers from the device, when all launches before are done.
    ///
    /// # Errors
    /// Those of [`Driver::download`].
    pub fn read(&self, driver: &dyn Driver) -> Result<Vec<T>> {
        let mut numbers = vec![T::default(); self.len()];
        driver.download(&self.view, bytes_mut(&mut numbers))?;
        Ok(numbers)
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.view.bytes / size_of::<T>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them, in the same memory.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::Device(format!(
                "a buffer of {} numbers has no numbers {range:?}",
                self.len()
            )));
        }
        let mut slice = self.clone();
        slice.view.start_bytes += range.start * size_of::<T>();
        slice.view.bytes = range.len() * size_of::<T>();
        Ok(slice)
    }

    /// It, without its type.
    pub fn view(&self) -> &View {
        &self.view
    }
}

/// Writes a row of a matrix.
pub type WriteRow<'a> = dyn FnMut(usize, &mut [f32]) -> Result<()> + 'a;

impl Buffer<Bf16> {
    /// Rounds rows (rows, width), as `row(i, to)` writes them, and copies them to the first numbers
    /// here. They come in blocks of 4 MiB at most, so that nobody holds all of them.
    ///
    /// # Errors
    /// If there is no room for them; the first one of `row`; and those of [`Driver::upload`].
    pub fn write_rows(
        &self,
        driver: &dyn Driver,
        [rows, width]: [usize; 2],
        row: &mut WriteRow<'_>,
    ) -> Result<()> {
        let most = (BLOCK_BYTES / size_of::<Bf16>() / width.max(1)).clamp(1, rows.max(1));
        let (mut plain, mut block) = (vec![0.0; width], Vec::with_capacity(most * width));
        for first in (0..rows).step_by(most) {
            block.clear();
            for at in first..rows.min(first + most) {
                row(at, &mut plain)?;
                block.extend(plain.iter().copied().map(Bf16::of));
            }
            self.slice(first * width..first * width + block.len())?.write(driver, &block)?;
        }
        Ok(())
    }
}

impl View {
    /// All of some memory.
    pub(super) fn new(memory: Arc<dyn Memory>, bytes: usize, kind: Kind) -> Self {
        Self { memory, start_bytes: 0, bytes, kind }
    }

    /// Where it begins, as the device names places.
    pub fn address(&self) -> u64 {
        self.memory.address() + self.start_bytes as u64
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}
