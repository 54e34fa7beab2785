//! A decoder whose weights look random, made on the device: for measurements of shapes whose
//! weights are nowhere.

use super::memory::size;
use super::{Heads, Layer, Multiplied, OwnRows, Resident, Room, SharedDriver, Weights};
use crate::device::cuda::Buffer;
use crate::device::cuda::kernels::{Adapters, Draw};
use crate::error::Result;
use crate::model::decoder::DecoderConfig;
use crate::model::decoder::layout::SITES;
use std::sync::Mutex;

/// What is drawn besides the weights.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// How many adapters there are, each of all seven projections.
    pub adapters: u32,
    /// R of each projection.
    pub rank: usize,
    /// What the numbers depend on.
    pub seed: u64,
    /// Whether the projections are in FP8.
    pub fp8: bool,
}

impl Resident {
    /// Draws a decoder, without biases, with room for batches of so many tokens.
    ///
    /// Errors: those of [`Resident::of`].
    pub fn drawn(
        driver: SharedDriver,
        config: DecoderConfig,
        drawn: Drawn,
        tokens_max: usize,
    ) -> Result<Self> {
        let heads = Heads::new(config.width)?;
        let weights = Weights::drawn(&driver, &config, heads, drawn, tokens_max)?;
        let room = Room::new(&*driver, weights.size(&config, heads, tokens_max))?;
        let (adapters, room) = (drawn.adapters, Mutex::new(room));
        Ok(Self { driver, config, heads, weights, adapters, tokens_max, room, shelf: None })
    }
}

impl Weights {
    fn drawn(
        driver: &SharedDriver,
        config: &DecoderConfig,
        heads: Heads,
        Drawn { adapters, rank, seed, fp8 }: Drawn,
        tokens_max: usize,
    ) -> Result<Self> {
        let device = &**driver;
        let mut seeds = (seed..).step_by(1 << 32); // further apart than numbers in a buffer
        let mut next = || seeds.next().unwrap_or(seed);
        let mut table = || {
            let out = Buffer::new(device, config.vocabulary * config.hidden)?;
            device.launch(&Draw { seed: next(), scale: 1.0, out: &out }.launch()?)?;
            Ok(out)
        };
        let embeddings = table()?;
        let head = if config.tied { None } else { Some(table()?) };
        let ones = || Buffer::of(device, &vec![1.0; config.hidden]);
        let mut layers = Vec::with_capacity(config.layers);
        for _ in 0..config.layers {
            let mut site = |at: usize| {
                let ranks = SITES[at].len() * rank;
                let (size, count) = (size(config, heads, SITES[at]), adapters as usize);
                let mut adapters = Adapters::drawn(device, size, [count, ranks], next())?;
                if fp8 {
                    adapters = adapters.in_fp8(device)?;
                }
                Ok::<_, crate::error::Error>(Multiplied { adapters, bias: None })
            };
            let sites = [site(0)?, site(1)?, site(2)?, site(3)?];
            layers.push(Layer { attention_norm: ones()?, forward_norm: ones()?, sites });
        }
        let positions = config.context_max.min(tokens_max);
        Ok(Self {
            embeddings,
            head,
            own: OwnRows::default(),
            layers,
            last_norm: ones()?,
            angles: Buffer::of(device, &heads.angles(&config.rope, positions))?,
        })
    }
}
