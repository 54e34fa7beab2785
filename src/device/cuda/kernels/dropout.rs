//! Which numbers a launch drops.

use super::super::Buffer;
use super::super::launch::Argument;
use super::fits;
use crate::error::{Error, Result};

/// As [`crate::device::Dropout`], with the keys on the device.
#[derive(Clone, Copy, Debug)]
pub struct Dropout<'a> {
    /// The share that is dropped, in [0, 1); what stays is scaled by 1 / (1 − rate).
    pub rate: f32,
    /// Where in the network: two sites of one row draw different masks.
    pub site: u64,
    /// One key for each row, or none to drop nothing.
    pub keys: Option<&'a Buffer<u64>>,
}

impl Dropout<'_> {
    /// Drops nothing.
    pub const NONE: Dropout<'static> = Dropout { rate: 0.0, site: 0, keys: None };

    /// Whether anything is dropped.
    pub(super) fn drops(&self) -> bool {
        self.keys.is_some() && self.rate > 0.0
    }

    /// The kernel's last arguments, for so many rows.
    pub(super) fn arguments(&self, kernel: &str, rows: usize) -> Result<[Argument; 5]> {
        let Self { rate, site, keys } = *self;
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::Device(format!("{kernel}: dropout of {rate}: expected 0 up to 1")));
        }
        let keys = keys.filter(|_| rate > 0.0);
        keys.map_or(Ok(()), |keys| fits(kernel, "keys", keys, &[rows]))?;
        let threshold = (rate * u32::MAX as f32) as u32;
        let (low, high) = (site as u32, (site >> 32) as u32);
        Ok([keys.into(), low.into(), high.into(), threshold.into(), (1.0 / (1.0 - rate)).into()])
    }
}
