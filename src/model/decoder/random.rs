//! A decoder that has learned nothing yet.

use super::{Decoder, DecoderConfig};
use crate::device::Precision;
use crate::error::Result;
use crate::types::{mix64, normal};

/// Standard deviation of a random weight, as in Llama and Qwen2.
const DEVIATION: f64 = 0.02;

impl Decoder {
    /// A decoder in f32 with random weights: matrices normal with deviation 0.02, biases 0, norms
    /// 1.
    ///
    /// Errors: see [`DecoderConfig::check`].
    pub fn random(config: DecoderConfig, seed: u64) -> Result<Self> {
        config.check()?;
        Self::fill(config, Precision::F32, &|name, row, to| {
            if name.contains("norm") || name.ends_with(".bias") {
                to.fill(f32::from(name.contains("norm")));
                return Ok(());
            }
            let key = name.bytes().fold(mix64(seed), |key, byte| mix64(key ^ u64::from(byte)));
            let key = mix64(key ^ row as u64);
            for (i, x) in (0..).zip(to) {
                *x = (normal(mix64(key ^ i)) * DEVIATION) as f32;
            }
            Ok(())
        })
    }
}
