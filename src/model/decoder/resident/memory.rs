//! How much of a device's memory a decoder takes.

use super::backward::LearningRoom;
use super::room::{Room, Size};
use super::shelf::{page_bytes, pages};
use crate::device::Precision;
use crate::device::cuda::Counted;
use crate::device::cuda::kernels::check_fp8;
use crate::error::Result;
use crate::model::adapter::AdapterConfig;
use crate::model::decoder::layout::{Projection, SITES};
use crate::model::decoder::source::Source;
use crate::model::decoder::{DecoderConfig, load};
use crate::model::resident::{Heads, STATE, filled};
use std::ops::AddAssign;

/// What a model takes on a device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Weights and adapters.
    pub weights_bytes: usize,
    /// What a batch is computed in.
    pub batch_bytes: usize,
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.weights_bytes += other.weights_bytes;
        self.batch_bytes += other.batch_bytes;
    }
}

impl Memory {
    /// Of a decoder with its adapters, for batches of so many tokens.
    pub(super) fn of(source: &dyn Source, heads: Heads, tokens_max: usize) -> Result<Self> {
        Self::planned(source.config(), heads, (source.grown(), source.precision()), tokens_max)
    }

    /// Of a decoder with some adapters, for batches of so many tokens.
    ///
    /// Errors: [`crate::error::Error::Device`] for heads that the kernels do not take.
    pub fn expected<'a>(
        config: &DecoderConfig,
        adapters: impl IntoIterator<Item = &'a AdapterConfig>,
        precision: Precision,
        tokens_max: usize,
    ) -> Result<Self> {
        let heads = Heads::new(config.width)?;
        Self::planned(config, heads, (grown(adapters), precision), tokens_max)
    }

    /// What [`super::Resident::keeping`] takes for so many bytes and batches of so many tokens.
    ///
    /// Errors: [`crate::error::Error::Device`] for heads that the kernels do not take.
    pub fn kept(config: &DecoderConfig, tokens_max: usize, bytes: usize) -> Result<usize> {
        let page = page_bytes(config, Heads::new(config.width)?);
        Ok(pages(page, tokens_max, bytes) * page)
    }

    /// Of a decoder that learns, with batches of so many tokens: parameters, gradient and moments
    /// with the weights, what the backward pass needs with the batches. Without an adapter, every
    /// weight is trained.
    ///
    /// Errors: those of [`Memory::expected`].
    pub fn learning(
        config: &DecoderConfig,
        adapter: Option<&AdapterConfig>,
        tokens_max: usize,
        kept_bytes_max: usize,
    ) -> Result<Self> {
        let heads = Heads::new(config.width)?;
        let (ranks, own) = grown(adapter);
        let mut memory = Self::planned(config, heads, ((ranks, own), Precision::Bf16), tokens_max)?;
        let place = planned_size(config, heads, (ranks, Precision::Bf16), tokens_max);
        let counted = Counted::default();
        let room = LearningRoom::new(&counted, place, kept_bytes_max)?;
        memory.batch_bytes += counted.bytes();
        drop(room);
        let sizes = SITES.map(|parts| size(config, heads, parts));
        let trained = |([outputs, inputs], ranks): ([usize; 2], usize)| match adapter {
            Some(_) => ranks * (outputs + inputs),
            None => outputs * inputs,
        };
        let layer: usize = sizes.into_iter().zip(ranks).map(trained).sum();
        let (rows, norms) = match adapter {
            Some(_) => (own, 0),
            None => (tables(config), 2 * config.layers + 1),
        };
        let numbers = config.layers * layer + (rows + norms) * config.hidden;
        memory.weights_bytes += STATE * numbers * size_of::<f32>();
        Ok(memory)
    }

    /// Of a decoder whose adapters have so many ranks at each site together, and so many rows of
    /// the embeddings. What is not in FP8 is in bf16 there.
    fn planned(
        config: &DecoderConfig,
        heads: Heads,
        ((ranks, own), precision): (([usize; 4], usize), Precision),
        tokens_max: usize,
    ) -> Result<Self> {
        let (bf16, f32) = (size_of::<u16>(), size_of::<f32>());
        let (fp8, counted) = (precision == Precision::Fp8, Counted::default());
        for parts in SITES.iter().filter(|_| fp8) {
            check_fp8(&counted, size(config, heads, parts))?;
        }
        let row = |inputs: usize| if fp8 { inputs + f32 } else { inputs * bf16 };
        let sizes = SITES.map(|parts| size(config, heads, parts));
        let site = |([outputs, inputs], ranks): ([usize; 2], usize)| {
            (outputs + ranks) * row(inputs) + ranks * outputs * bf16
        };
        let layer: usize = sizes.into_iter().zip(ranks).map(site).sum();
        let positions = config.context_max.min(tokens_max);
        let norms = (2 * config.layers + 1) * config.hidden * f32;
        let weights_bytes = config.layers * layer
            + (tables(config) + own) * config.hidden * bf16
            + positions * heads.wide * f32
            + norms;
        let size = planned_size(config, heads, (ranks, precision), tokens_max);
        let room = Room::new(&counted, size)?;
        let batch_bytes = counted.bytes();
        drop(room);
        Ok(Self { weights_bytes, batch_bytes })
    }
}

/// Rows of the embeddings, and of the logits' matrix if it is another one.
fn tables(config: &DecoderConfig) -> usize {
    (2 - usize::from(config.tied)) * config.vocabulary
}

/// How large places are of a decoder that is not loaded yet.
fn planned_size(
    config: &DecoderConfig,
    heads: Heads,
    (ranks, precision): ([usize; 4], Precision),
    tokens: usize,
) -> Size<'_> {
    let mut columns = ranks;
    for (columns, parts) in columns.iter_mut().zip(SITES) {
        *columns += size(config, heads, parts)[0];
    }
    let ranks = ranks.into_iter().max().unwrap_or(0);
    Size { config, heads, columns, ranks, tokens, fp8: precision == Precision::Fp8 }
}

/// What adapters add to a decoder: ranks of each site, and rows of the embeddings.
pub fn grown<'a>(adapters: impl IntoIterator<Item = &'a AdapterConfig>) -> ([usize; 4], usize) {
    let (mut ranks, mut own) = ([0; 4], 0);
    for adapter in adapters {
        let changed = |part: &&Projection| adapter.targets.contains(part);
        for (ranks, parts) in ranks.iter_mut().zip(SITES) {
            *ranks += filled(parts.iter().filter(changed).count() * adapter.rank);
        }
        own += adapter.tokens.len();
    }
    (ranks, own)
}

/// Outputs and inputs of weights that are kept as one, in the device's heads.
pub(super) fn size(config: &DecoderConfig, heads: Heads, parts: &[Projection]) -> [usize; 2] {
    load::size(&DecoderConfig { width: heads.wide, ..config.clone() }, parts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::adapter::Adapter;
    use crate::model::decoder::{Decoder, Rope};

    #[test]
    fn what_is_expected_is_what_a_loaded_decoder_takes() {
        let config = DecoderConfig {
            vocabulary: 30,
            hidden: 16,
            inner: 24,
            layers: 2,
            heads: 4,
            shared: 2,
            width: 4,
            context_max: 50,
            epsilon: 1e-5,
            rope: Rope { theta: 10_000.0, scaling: None },
            tied: true,
            qkv_bias: false,
            output_bias: false,
        };
        let heads = Heads::new(config.width).unwrap();
        let mut decoder = Decoder::random(config.clone(), 1).unwrap();
        let bare = Memory::of(&decoder, heads, 100).unwrap();
        let bf16 = Precision::Bf16;
        assert_eq!(Memory::expected(&config, None, bf16, 100).unwrap(), bare);
        for (rank, targets) in [(8, Projection::ALL.to_vec()), (5, vec![Projection::Value])] {
            let (alpha, rslora, tokens, base) = (8.0, false, vec![3, 7], None);
            let adapter = AdapterConfig { rank, alpha, rslora, targets, tokens, base };
            let expected = Memory::expected(&config, Some(&adapter), bf16, 100).unwrap();
            decoder.attach(&Adapter::new(adapter, &config, |_| 0.1));
            assert_eq!(expected, Memory::of(&decoder, heads, 100).unwrap());
            assert!(expected.weights_bytes > bare.weights_bytes);
            decoder.detach();
        }
    }
}
