//! A decoder that has learned nothing yet.

use super::layout::Projection;
use super::{Decoder, DecoderConfig};
use crate::device::Precision;
use crate::error::Result;
use crate::types::{mix64, normal};

/// Standard deviation of what is added to the stream, as in Llama and Qwen2.
const ADDED: f64 = 0.02;

impl Decoder {
    /// A decoder in f32 with random weights: matrices normal, biases 0, norms 1.
    ///
    /// The deviation is 1 / √inputs, so that products keep the size of what they multiply, and 0.02
    /// in the products that add to the stream, so that it begins as the embeddings. With 0.02
    /// everywhere, as large models have it, a narrow decoder's attention begins alike for all
    /// tokens and stays so for thousands of steps: it learns no look-up.
    ///
    /// Errors: see [`DecoderConfig::check`].
    pub fn random(config: DecoderConfig, seed: u64) -> Result<Self> {
        config.check()?;
        Self::fill(config, Precision::F32, &|name, row, to| {
            if name.contains("norm") || name.ends_with(".bias") {
                to.fill(f32::from(name.contains("norm")));
                return Ok(());
            }
            let added = [Projection::Output, Projection::Down].map(Projection::module);
            let deviation = match added.iter().any(|module| name.contains(module)) {
                true => ADDED,
                false => 1.0 / (to.len() as f64).sqrt(),
            };
            let key = name.bytes().fold(mix64(seed), |key, byte| mix64(key ^ u64::from(byte)));
            let key = mix64(key ^ row as u64);
            for (i, x) in (0..).zip(to) {
                *x = (normal(mix64(key ^ i)) * deviation) as f32;
            }
            Ok(())
        })
    }
}
