//! The devices that jobs name, opened, and in what numbers models compute there.

use crate::device::Precision;
use crate::device::cuda::Nvidia;
use crate::error::Result;
use crate::model::decoder::SharedDriver;
use crate::spec::{DeviceSpec, PrecisionSpec};
use std::path::PathBuf;
use std::sync::Arc;

/// Opens devices; none for the processor.
///
/// Errors: a device that is not there, or a library that it needs.
pub fn open(device: &DeviceSpec) -> Result<Vec<SharedDriver>> {
    match device {
        DeviceSpec::Cpu => Ok(Vec::new()),
        DeviceSpec::Cuda(numbers) => {
            let folder = kernels();
            let open = |number: &u16| -> Result<SharedDriver> {
                Ok(Arc::new(Nvidia::open(usize::from(*number), folder.as_deref())?))
            };
            numbers.iter().map(open).collect()
        }
    }
}

/// In what weights are kept.
pub fn precision(spec: PrecisionSpec) -> Precision {
    match spec {
        PrecisionSpec::F32 => Precision::F32,
        PrecisionSpec::Bf16 => Precision::Bf16,
        PrecisionSpec::Fp8 => Precision::Fp8,
    }
}

/// Where compiled kernels are kept: what a user's programs may write and lose.
fn kernels() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|folder| !folder.is_empty());
    let home = || Some(PathBuf::from(folder("HOME")?).join(".cache"));
    let cache = folder("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
    Some(cache.join("steerage").join("kernels"))
}
