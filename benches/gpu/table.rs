//! What was measured, as lines.

use super::rates::Rates;

/// A kernel that was timed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub kernel: &'static str,
    pub note: String,
    pub seconds: f64,
    pub bytes: f64,
    pub flops: f64,
    pub unit: Unit,
}

/// What does a kernel's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Bf16,
    F32,
}

impl Row {
    /// Seconds that it takes at least.
    pub fn bound(&self, rates: &Rates) -> f64 {
        let rate = if self.unit == Unit::Bf16 { rates.bf16 } else { rates.f32 };
        (self.bytes / rates.bytes).max(self.flops / rate)
    }

    /// Kernel, note, microseconds, rate, share of the bound.
    pub fn line(&self, rates: &Rates) -> String {
        let memory = self.bytes / rates.bytes >= self.bound(rates);
        let rate = match memory {
            true => format!("{:8.0} GB/s", self.bytes / self.seconds / 1e9),
            false => format!("{:8.1} TFLOP/s", self.flops / self.seconds / 1e12),
        };
        format!(
            "{:26} {:24} {:10.1} µs {rate:16} {:4.0} %",
            self.kernel,
            self.note,
            self.seconds * 1e6,
            100.0 * self.bound(rates) / self.seconds
        )
    }
}

/// The device's rates, as a line.
pub fn rates_line(rates: &Rates) -> String {
    format!(
        "memory {:.2} TB/s (a copy, read and written), bf16 products {:.0} TFLOP/s (8192³), \
         f32 not fused {:.1} TFLOP/s (by its clock)",
        rates.bytes / 1e12,
        rates.bf16 / 1e12,
        rates.f32 / 1e12
    )
}
