//! In what a model's weights are kept.

use serde::{Deserialize, Serialize};

/// In what weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionSpec {
    /// 32 bits.
    F32,
    /// The upper half of them.
    Bf16,
    /// A decoder's projections, and the rows that they multiply, in 8 bits (E4M3) with a scale for
    /// each row; the rest in bf16.
    Fp8,
}
