//! The devices that jobs name, each opened once, and in what numbers models compute there.

use crate::device::Precision;
use crate::device::cuda::Nvidia;
use crate::device::doctor::{Cuda, probe};
use crate::error::{Error, Result};
use crate::model::decoder::SharedDriver;
use crate::spec::{DeviceSpec, PrecisionSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What is open, by number, for as long as the process: all models on a device share its driver,
/// and with it one stream, its compiled kernels and the memory that copies go through.
static OPEN: Mutex<Open> = Mutex::new(Open(BTreeMap::new()));

struct Open(BTreeMap<u16, SharedDriver>);

/// The drivers of devices, opened when they are first asked for; none for the processor. `field` is
/// what names them: a field of a job, or a flag.
///
/// Errors: a device that is not there, or a library that it needs.
pub fn open(device: &DeviceSpec, field: &str) -> Result<Vec<SharedDriver>> {
    let DeviceSpec::Cuda(numbers) = device else { return Ok(Vec::new()) };
    let folder = kernels();
    let make = |number| -> Result<SharedDriver> {
        let opened = Nvidia::open(usize::from(number), folder.as_deref());
        Ok(Arc::new(opened.map_err(|why| absent(why, device, field))?))
    };
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    numbers.iter().map(|number| open.driver(*number, make)).collect()
}

/// Looks whether the devices are there, and opens none.
///
/// Errors: as [`open`] has them, as far as that can be known.
pub fn find(device: &DeviceSpec, field: &str) -> Result<()> {
    let DeviceSpec::Cuda(numbers) = device else { return Ok(()) };
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, why) = match probe().cuda {
        Cuda::Missing(why) => (0, why),
        Cuda::Ready { devices, .. } => {
            (devices.len(), format!("{} devices are here, numbered from 0", devices.len()))
        }
    };
    let gone = |number: &&u16| !open.0.contains_key(*number) && usize::from(**number) >= count;
    match numbers.iter().find(gone) {
        Some(number) => Err(absent(Error::Device(format!("cuda:{number}: {why}")), device, field)),
        None => Ok(()),
    }
}

/// What is said of a device that cannot be opened: where it is named, and what can be done.
fn absent(why: Error, device: &DeviceSpec, field: &str) -> Error {
    let Error::Device(why) = why else { return why };
    let (set, else_set) = match field.strip_prefix("--") {
        Some(_) => (format!("{field} {device}"), format!("{field} cpu")),
        None => (format!("{field} = \"{device}\""), format!("{field} = \"cpu\"")),
    };
    Error::Device(format!("{set}: {why}; `steerage doctor` says what is here, or use {else_set}"))
}

/// Lets jobs that name a device compute on a driver, if they have named none of that number yet.
pub fn stand_in(number: u16, driver: SharedDriver) {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).0.entry(number).or_insert(driver);
}

impl Open {
    /// A device's driver, which is made if it is not there.
    fn driver(
        &mut self,
        number: u16,
        make: impl FnOnce(u16) -> Result<SharedDriver>,
    ) -> Result<SharedDriver> {
        if let Some(driver) = self.0.get(&number) {
            return Ok(Arc::clone(driver));
        }
        let driver = make(number)?;
        self.0.insert(number, Arc::clone(&driver));
        Ok(driver)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::device::cuda::{Driver, Launch, Memory, Product, View};

    /// A device that does nothing.
    struct Idle;

    impl Driver for Idle {
        fn take(&self, _: usize) -> Result<Arc<dyn Memory>> {
            Err(Error::Device("it has no memory".into()))
        }
        fn upload(&self, _: &[u8], _: &View) -> Result<()> {
            Ok(())
        }
        fn download(&self, _: &View, _: &mut [u8]) -> Result<()> {
            Ok(())
        }
        fn launch(&self, _: &Launch) -> Result<()> {
            Ok(())
        }
        fn product(&self, _: &Product) -> Result<()> {
            Ok(())
        }
        fn synchronize(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_device_is_opened_once_and_one_that_failed_is_tried_again() {
        let mut open = Open(BTreeMap::new());
        let mut made = Vec::new();
        let mut ask = |number: u16, there: bool| {
            open.driver(number, |number| {
                made.push(number);
                let driver: SharedDriver = Arc::new(Idle);
                there.then_some(driver).ok_or_else(|| Error::Device("not there".into()))
            })
        };
        assert!(ask(1, false).is_err());
        let (one, two, again) = (ask(1, true).unwrap(), ask(2, true).unwrap(), ask(1, false));
        assert!(Arc::ptr_eq(&one, &again.unwrap()) && !Arc::ptr_eq(&one, &two));
        assert_eq!(made, [1, 1, 2]);
    }
}
