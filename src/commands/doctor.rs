//! `steerage doctor`: what this machine has, and what is missing.

use crate::device::doctor::{Cuda, Probe, probe};
use crate::device::processor;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const GIB: f64 = (1u64 << 30) as f64;

/// The machine, as text; `root` is the folder of the runs.
pub fn doctor(root: &Path) -> String {
    let mut text = format!("steerage   {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, what: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<10} {what}");
    };
    let Probe { cores, units, cuda, nvrtc, cublaslt } = probe();
    line("cores", format!("{cores}, {}", processor().unwrap_or("of an unknown model".into())));
    for (name, unit) in units {
        line(name, unit.to_string());
    }
    line("memory", memory().unwrap_or("unknown: /proc/meminfo cannot be read".into()));
    let disk = free_disk(root).map(|bytes| format!("{:.1} GiB free", bytes as f64 / GIB));
    line("disk", format!("{} in {}", disk.unwrap_or("unknown".into()), root.display()));
    match cuda {
        Cuda::Missing(why) => line("CUDA", format!("no: {why}")),
        Cuda::Ready { version: (major, minor), devices } => {
            let count = devices.len();
            line("CUDA", format!("{major}.{minor} by the driver, {count} devices"));
            for (at, gpu) in devices.iter().enumerate() {
                let (gib, (major, minor)) = (gpu.bytes as f64 / GIB, gpu.capability);
                let what =
                    format!("{}, {gib:.0} GiB, compute capability {major}.{minor}", gpu.name);
                line(&format!("  cuda:{at}"), what);
            }
        }
    }
    line("NVRTC", nvrtc.map_or_else(|why| format!("no: {why}"), |(a, b)| format!("{a}.{b}")));
    let version = |(a, b, c)| format!("{a}.{b}.{c}");
    line("cuBLASLt", cublaslt.map_or_else(|why| format!("no: {why}"), version));
    text
}

fn memory() -> Option<String> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let gib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024.0 / GIB)
    };
    Some(format!("{:.1} GiB, {:.1} GiB available", gib("MemTotal:")?, gib("MemAvailable:")?))
}

/// Free bytes of the file system that a folder is in, or will be: asked of `df`, since the standard
/// library has no call for it.
fn free_disk(folder: &Path) -> Option<u64> {
    let absolute = std::path::absolute(folder).ok()?;
    let there = absolute.ancestors().find(|path| path.exists())?;
    let output = Command::new("df").arg("-Pk").arg(there).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib * 1024)
}
