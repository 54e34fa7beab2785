//! Who holds memory and runs launches.

use super::Buffer;
use super::buffer::View;
use super::element::{Bf16, Kind};
use super::launch::Launch;
use crate::error::{Error, Result};
use std::fmt::Debug;
use std::sync::Arc;

/// Memory of a device; dropping it gives it back.
pub trait Memory: Debug + Send + Sync {
    /// Where it begins, as the device names places.
    fn address(&self) -> u64;
}

/// A device's driver. What it is told it does one after the other, and may do later than it
/// returns; then an error may be told of by a later call.
pub trait Driver {
    /// Takes memory, whose content means nothing.
    ///
    /// # Errors
    /// If there is not so much.
    fn take(&self, bytes: usize) -> Result<Arc<dyn Memory>>;
    /// Copies bytes to the device.
    ///
    /// # Errors
    /// If they are not as many as the view has, or the device failed.
    fn upload(&self, from: &[u8], to: &View) -> Result<()>;
    /// Copies bytes from the device, when all before is done.
    ///
    /// # Errors
    /// If they are not as many as the view has, or the device failed.
    fn download(&self, from: &View, to: &mut [u8]) -> Result<()>;
    /// Runs a kernel.
    ///
    /// # Errors
    /// If it cannot be compiled or started, or the device failed.
    fn launch(&self, launch: &Launch) -> Result<()>;
    /// Multiplies matrices.
    ///
    /// # Errors
    /// If it cannot be started, or the device failed.
    fn product(&self, product: &Product) -> Result<()>;
    /// Waits until all is done.
    ///
    /// # Errors
    /// If the device failed.
    fn synchronize(&self) -> Result<()>;
}

/// c = a · bᵀ: rows times a weight. Sums are f32; each row's order of summation depends on the
/// weight's dimensions alone.
#[derive(Clone, Debug)]
pub struct Product {
    rows: usize,
    outputs: usize,
    inputs: usize,
    a: View,
    b: View,
    c: View,
}

impl Product {
    /// Shapes: a (rows, inputs), b (outputs, inputs), c (rows, outputs): bf16, c also f32.
    ///
    /// # Errors
    /// If a buffer's length is another, or a dimension is 0.
    pub fn new<C: Output>(
        [rows, outputs, inputs]: [usize; 3],
        a: &Buffer<Bf16>,
        b: &Buffer<Bf16>,
        c: &Buffer<C>,
    ) -> Result<Self> {
        for (name, size, found) in [
            ("a", [rows, inputs], a.len()),
            ("b", [outputs, inputs], b.len()),
            ("c", [rows, outputs], c.len()),
        ] {
            if size.contains(&0) || size[0].checked_mul(size[1]) != Some(found) {
                return Err(Error::Device(format!(
                    "product: {name}: expected {size:?} numbers, at least one, found {found}"
                )));
            }
        }
        let [a, b, c] = [a.view(), b.view(), c.view()].map(View::clone);
        Ok(Self { rows, outputs, inputs, a, b, c })
    }

    /// Rows, outputs, inputs.
    pub fn size(&self) -> [usize; 3] {
        [self.rows, self.outputs, self.inputs]
    }

    /// Rows, weight and what comes out.
    pub fn operands(&self) -> [&View; 3] {
        [&self.a, &self.b, &self.c]
    }

    /// In what the result is written.
    pub fn kind(&self) -> Kind {
        self.c.kind()
    }
}

/// What a product can be written in: bf16 or f32.
pub trait Output: super::Element {}
impl Output for Bf16 {}
impl Output for f32 {}
