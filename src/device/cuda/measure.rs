//! What a device is, and when it has done what: for measurements and for plans.
#![allow(unsafe_code)]

use super::buffer::View;
use super::nvidia::{Nvidia, check_driver, failed};
use crate::error::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use cudarc::driver::sys::CUevent_flags_enum::CU_EVENT_DEFAULT;
use cudarc::driver::{CudaEvent, result};

/// The CUDA whose driver tells, for the first time by the function that is asked, how long
/// something took.
const TELLS_SINCE: i32 = 12080;

/// What a device is.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its compute capability, major and minor.
    pub capability: (i32, i32),
    /// Multiprocessors.
    pub processors: u32,
    /// The highest clock of a multiprocessor, in hertz.
    pub clock_hz: f64,
    /// Its second-level cache, in bytes.
    pub cache_bytes: usize,
    /// Memory that nobody holds, in bytes.
    pub free_bytes: usize,
    /// Its memory, in bytes.
    pub total_bytes: usize,
}

impl Facts {
    /// Operations in f32 a second at most, where none is fused: processors × lanes × clock.
    ///
    /// Source: CUDA C++ Programming Guide, arithmetic instructions: lanes by compute capability.
    pub fn f32_per_s(&self) -> f64 {
        let lanes = if self.capability == (8, 0) { 64.0 } else { 128.0 };
        f64::from(self.processors) * lanes * self.clock_hz
    }
}

/// A moment in what a device does.
pub struct Moment(CudaEvent);

impl Nvidia {
    /// What it is, and how much of its memory is free now.
    ///
    /// # Errors
    /// If the driver does not say.
    pub fn facts(&self) -> Result<Facts> {
        let ask = || {
            let number = |attribute| self.context.attribute(attribute);
            let (free_bytes, total_bytes) = self.context.mem_get_info()?;
            let processors = number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
            let cache = number(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?;
            Ok(Facts {
                name: self.context.name()?,
                capability: self.context.compute_capability()?,
                processors: processors.max(0) as u32,
                // The attribute is in kilohertz.
                clock_hz: f64::from(number(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?) * 1e3,
                cache_bytes: cache.max(0) as usize,
                free_bytes,
                total_bytes,
            })
        };
        ask().map_err(failed("ask what the device is"))
    }

    /// When all that it was told so far will be done.
    ///
    /// # Errors
    /// If the device failed.
    pub fn mark(&self) -> Result<Moment> {
        let event = self.stream.record_event(Some(CU_EVENT_DEFAULT));
        event.map(Moment).map_err(failed("mark a moment"))
    }

    /// Seconds from one moment to another, when both have come.
    ///
    /// # Errors
    /// If the device failed.
    pub fn seconds(&self, from: &Moment, to: &Moment) -> Result<f64> {
        // A function that the library does not have would be a panic.
        check_driver("ask how long something took", TELLS_SINCE, "")?;
        let elapsed = from.0.elapsed_ms(&to.0);
        elapsed.map(|ms| f64::from(ms) / 1e3).map_err(failed("ask how long something took"))
    }

    /// Copies from one place of the device to another.
    ///
    /// # Errors
    /// If they are not equally long, or overlap, or the device failed.
    pub fn copy(&self, from: &View, to: &View) -> Result<()> {
        let (bytes, [a, b]) = (from.bytes(), [from.address(), to.address()]);
        if bytes != to.bytes() || a.abs_diff(b) < bytes as u64 {
            let why = format!("copy: {bytes} bytes to {} that may not overlap", to.bytes());
            return Err(Error::Device(why));
        }
        self.bind()?;
        // SAFETY: both views are inside memory that their handles keep until the driver, when
        // freeing, has waited; as long as each other, and apart.
        unsafe { result::memcpy_dtod_async(b, a, bytes, self.stream.cu_stream()) }
            .map_err(failed("copy"))
    }
}
