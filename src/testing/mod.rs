//! What tests, benches and the demo share.

pub mod dataset;
pub mod faulty_store;
pub mod llama;
pub mod oracle;

use crate::device::cuda::SharedDriver;

/// Lets jobs of this process that name a device of this number compute on a driver, such as an
/// emulated one, if none has named it yet.
pub fn stand_in(number: u16, driver: SharedDriver) {
    crate::commands::stand_in(number, driver);
}
