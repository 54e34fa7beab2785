//! The decoder that benches read and train with: a Llama of 100 million random weights.

use crate::device::Precision;
use crate::error::Result;
use crate::model::decoder::{Decoder, DecoderConfig, Rope};
use crate::types::{mix64, unit_f64};

/// Its dimensions.
pub const LLAMA_100M: DecoderConfig = DecoderConfig {
    vocabulary: 32_000,
    hidden: 768,
    inner: 2048,
    layers: 12,
    heads: 12,
    shared: 4,
    width: 64,
    context_max: 2048,
    epsilon: 1e-5,
    rope: Rope { theta: 500_000.0, scaling: None },
    tied: true,
    qkv_bias: false,
    output_bias: false,
};

/// The same weights each time: norms of 1, all else evenly from −0.035 to 0.035.
///
/// Errors: none of its own; those of [`Decoder::fill`].
pub fn llama_100m(precision: Precision) -> Result<Decoder> {
    Decoder::fill(LLAMA_100M, precision, &|name, row, to| {
        let key = name.bytes().fold(row as u64, |key, byte| mix64(key ^ u64::from(byte)));
        let norm = name.contains("norm");
        for (i, x) in to.iter_mut().enumerate() {
            let draw = unit_f64(mix64(key ^ i as u64)) as f32 - 0.5;
            *x = if norm { 1.0 } else { 0.07 * draw };
        }
        Ok(())
    })
}
