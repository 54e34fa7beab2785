//! What a figure was measured on, in words.

/// The processor's name, where the system says it.
pub fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The processor's name and how many of its cores this process may use.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let name = processor().unwrap_or(std::env::consts::ARCH.to_owned());
    format!("{name}, {cores} cores")
}
