//! The devices that jobs name, opened.

use crate::device::cuda::Nvidia;
use crate::error::Result;
use crate::model::decoder::SharedDriver;
use crate::spec::DeviceSpec;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens a device; none for the processor.
///
/// Errors: a device that is not there, or a library that it needs.
pub fn open(device: DeviceSpec) -> Result<Option<SharedDriver>> {
    match device {
        DeviceSpec::Cpu => Ok(None),
        DeviceSpec::Cuda(number) => {
            let folder = kernels();
            let device = Nvidia::open(usize::from(number), folder.as_deref())?;
            Ok(Some(Arc::new(device)))
        }
    }
}

/// Where compiled kernels are kept: what a user's programs may write and lose.
fn kernels() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|folder| !folder.is_empty());
    let home = || Some(PathBuf::from(folder("HOME")?).join(".cache"));
    let cache = folder("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
    Some(cache.join("steerage").join("kernels"))
}
