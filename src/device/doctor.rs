//! What is there to compute on? A probe of the processor and of NVIDIA libraries; changes nothing.
//!
//! What a processor has is asked of CPUID and, apart from it, of the operating system, which has to
//! save the registers: a unit that it does not save cannot be used.
#![allow(unsafe_code)] // instructions and libraries that Rust does not know

use std::fmt;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Threads that run at the same time.
    pub cores: usize,
    /// Vector and matrix units of the processor, by name, from small to large.
    pub units: Vec<(&'static str, Unit)>,
    /// The CUDA driver.
    pub cuda: Cuda,
    /// NVRTC's version, major and minor: the compiler of the kernels; or why it is not there.
    pub nvrtc: Result<(i32, i32), String>,
    /// cuBLASLt's version: the products with weights; or why it is not there.
    pub cublaslt: Result<(usize, usize, usize), String>,
}

/// A unit of the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// There, and the operating system lets it be used.
    Usable,
    /// There, and it cannot be used.
    Barred(&'static str),
    /// Not there.
    Absent,
}

/// The CUDA driver and its devices.
#[derive(Clone, Debug, PartialEq)]
pub enum Cuda {
    /// It answers.
    Ready {
        /// The CUDA version that the driver supports, major and minor.
        version: (i32, i32),
        /// The devices, in its order.
        devices: Vec<Gpu>,
    },
    /// It is not there, or there is nothing behind it.
    Missing(String),
}

/// A CUDA device.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its memory.
    pub bytes: u64,
    /// Its compute capability, major and minor.
    pub capability: (i32, i32),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Usable => f.write_str("usable"),
            Unit::Barred(why) => write!(f, "there, not usable: {why}"),
            Unit::Absent => f.write_str("not there"),
        }
    }
}

/// Asks the processor, the operating system and NVIDIA's libraries.
pub fn probe() -> Probe {
    Probe {
        cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
        units: units(),
        cuda: cuda(),
        nvrtc: nvrtc(),
        cublaslt: cublaslt(),
    }
}

#[cfg(target_arch = "x86_64")]
fn units() -> Vec<(&'static str, Unit)> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let one = __cpuid(1);
    let seven = (__cpuid(0).eax >= 7).then(|| __cpuid_count(7, 0));
    let [seven_ebx, seven_ecx, seven_edx] =
        seven.map_or([0; 3], |leaf| [leaf.ebx, leaf.ecx, leaf.edx]);
    let os_saves = if (one.ecx >> 27) & 1 == 1 { saved_registers() } else { 0 };
    let (ymm, zmm, tiles) = (0b110, 0b1110_0110, 0b11 << 17); // bits of XCR0
    let unit = |there: u32, mask: u64| match (there & 1, os_saves & mask == mask) {
        (0, _) => Unit::Absent,
        (_, false) => Unit::Barred("the operating system does not save its registers"),
        (_, true) => Unit::Usable,
    };
    let amx = |there| match unit(there, tiles) {
        Unit::Usable if !tiles_permitted() => {
            Unit::Barred("the operating system does not permit it (Linux 5.16 and later do)")
        }
        unit => unit,
    };
    vec![
        ("AVX2", unit(seven_ebx >> 5, ymm)),
        ("FMA", unit(one.ecx >> 12, ymm)),
        ("AVX-512", unit(seven_ebx >> 16, zmm)),
        ("AVX-512 VNNI", unit(seven_ecx >> 11, zmm)),
        ("AMX tiles", amx(seven_edx >> 24)),
        ("AMX bf16", amx(seven_edx >> 22)),
        ("AMX int8", amx(seven_edx >> 25)),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn units() -> Vec<(&'static str, Unit)> {
    let neon = if cfg!(target_arch = "aarch64") { Unit::Usable } else { Unit::Absent };
    vec![("NEON", neon)]
}

/// XCR0: the registers that the operating system saves. Needs OSXSAVE.
#[cfg(target_arch = "x86_64")]
fn saved_registers() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: XGETBV with 0 in ECX reads XCR0 and nothing else; the caller has seen OSXSAVE in
    // CPUID, which says that the instruction may be used.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    (u64::from(high) << 32) | u64::from(low)
}

/// Whether the kernel gives a process the tile registers when asked (`ARCH_GET_XCOMP_SUPP`).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_permitted() -> bool {
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_GET_XCOMP_SUPP: i64 = 0x1021;
    const TILE_DATA: u64 = 1 << 18;
    let mut supported = 0u64;
    let mut status = SYS_ARCH_PRCTL;
    // SAFETY: this call writes one u64 to the address in RSI, which is `supported`'s and lives
    // through it; the kernel changes RAX, RCX and R11 and no other register.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") status, in("rdi") ARCH_GET_XCOMP_SUPP,
            in("rsi") &raw mut supported, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    status == 0 && supported & TILE_DATA != 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles_permitted() -> bool {
    false
}

fn cuda() -> Cuda {
    use cudarc::driver::{result, sys};
    // SAFETY: loads libcuda if it is there and calls nothing in it.
    if !unsafe { sys::is_culib_present() } {
        return Cuda::Missing(
            "libcuda is not there: it comes with NVIDIA's driver; everything runs without it"
                .to_owned(),
        );
    }
    let ask = || -> Result<Cuda, result::DriverError> {
        result::init()?;
        let mut version = 0;
        // SAFETY: writes one integer to `version`, and the library is there.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
        let count = result::device::get_count()?;
        let devices = (0..count).map(gpu).collect::<Result<Vec<Gpu>, _>>()?;
        Ok(Cuda::Ready { version: (version / 1000, version % 1000 / 10), devices })
    };
    // Not the error's own text: making it asks a driver that has just failed.
    ask().unwrap_or_else(|e| Cuda::Missing(format!("the driver does not answer: {:?}", e.0)))
}

fn gpu(ordinal: i32) -> Result<Gpu, cudarc::driver::result::DriverError> {
    use cudarc::driver::result::device;
    use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
    let gpu = device::get(ordinal)?;
    // SAFETY: `gpu` is a device that the driver has just named.
    let (bytes, major, minor) = unsafe {
        (
            device::total_mem(gpu)?,
            device::get_attribute(gpu, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            device::get_attribute(gpu, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        )
    };
    Ok(Gpu { name: device::get_name(gpu)?, bytes: bytes as u64, capability: (major, minor) })
}

fn nvrtc() -> Result<(i32, i32), String> {
    use cudarc::nvrtc::sys;
    // SAFETY: loads libnvrtc if it is there and calls nothing in it.
    if !unsafe { sys::is_culib_present() } {
        return Err("libnvrtc is not there: it comes with the CUDA toolkit, or with \
                    `pip install nvidia-cuda-nvrtc` and its folder in LD_LIBRARY_PATH"
            .to_owned());
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: writes one integer to each, and the library is there.
    match unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) } {
        sys::nvrtcResult::NVRTC_SUCCESS => Ok((major, minor)),
        status => Err(format!("libnvrtc does not answer: {status:?}")),
    }
}

fn cublaslt() -> Result<(usize, usize, usize), String> {
    use cudarc::cublaslt::sys;
    // SAFETY: loads libcublasLt if it is there and calls nothing in it.
    if !unsafe { sys::is_culib_present() } {
        return Err("libcublasLt is not there: it comes with the CUDA toolkit, or with \
                    `pip install nvidia-cublas` and its folder in LD_LIBRARY_PATH"
            .to_owned());
    }
    // SAFETY: the library is there; the call takes nothing and gives a number.
    let version = unsafe { sys::cublasLtGetVersion() };
    Ok((version / 10_000, version / 100 % 100, version % 100))
}

#[cfg(test)]
mod tests {
    use super::{Unit, probe};

    #[test]
    fn a_probe_never_fails_and_agrees_with_the_standard_library() {
        let found = probe();
        assert!(found.cores > 0);
        #[cfg(target_arch = "x86_64")]
        for (name, usable) in [
            ("AVX2", is_x86_feature_detected!("avx2")),
            ("FMA", is_x86_feature_detected!("fma")),
            ("AVX-512", is_x86_feature_detected!("avx512f")),
            ("AVX-512 VNNI", is_x86_feature_detected!("avx512vnni")),
        ] {
            let unit = found.units.iter().find(|(unit, _)| *unit == name);
            assert_eq!(unit.map(|(_, unit)| *unit == Unit::Usable), Some(usable), "{name}");
        }
    }
}
