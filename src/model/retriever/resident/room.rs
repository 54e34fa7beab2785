//! What a retriever's passes compute in, on a device.

use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::error::Result;
use crate::model::resident::Heads;
use crate::model::retriever::RetrieverConfig;

/// What a block computes, as its backward pass reads it.
pub struct Place {
    /// What each of the two norms reads: the stream before the block, and between its halves.
    pub normed: [Normed; 2],
    /// (tokens, hidden): what norms leave, as products read it.
    pub rounded: [Buffer<Bf16>; 2],
    /// (tokens, 3 · heads · wide).
    pub qkv: Buffer<Bf16>,
    /// (tokens, heads): of attention.
    pub statistics: Buffer<f32>,
    /// (tokens, heads · wide).
    pub mixed: Buffer<Bf16>,
    /// (tokens, hidden): between the forward products, and as the second one reads it.
    pub active: Buffer<f32>,
    pub active_rounded: Buffer<Bf16>,
}

/// What a norm reads: (tokens, hidden), and (tokens, 2) for its gradient.
pub struct Normed {
    pub x: Buffer<f32>,
    pub statistics: Buffer<f32>,
}

/// How large places are.
#[derive(Clone, Copy)]
pub struct Size<'a> {
    pub config: &'a RetrieverConfig,
    pub heads: Heads,
    pub tokens: usize,
}

impl Size<'_> {
    /// Numbers of a token's queries.
    pub fn queries(&self) -> usize {
        self.config.heads * self.heads.wide
    }

    /// So many columns for each token.
    pub fn narrow(&self, driver: &dyn Driver, columns: usize) -> Result<Buffer<Bf16>> {
        Buffer::new(driver, self.tokens * columns)
    }

    /// The same in f32.
    pub fn wide(&self, driver: &dyn Driver, columns: usize) -> Result<Buffer<f32>> {
        Buffer::new(driver, self.tokens * columns)
    }

    fn normed(&self, driver: &dyn Driver) -> Result<Normed> {
        let hidden = self.config.hidden;
        Ok(Normed { x: self.wide(driver, hidden)?, statistics: self.wide(driver, 2)? })
    }

    fn place(&self, driver: &dyn Driver) -> Result<Place> {
        let RetrieverConfig { hidden, heads, .. } = *self.config;
        Ok(Place {
            normed: [self.normed(driver)?, self.normed(driver)?],
            rounded: [self.narrow(driver, hidden)?, self.narrow(driver, hidden)?],
            qkv: self.narrow(driver, 3 * self.queries())?,
            statistics: self.wide(driver, heads)?,
            mixed: self.narrow(driver, self.queries())?,
            active: self.wide(driver, hidden)?,
            active_rounded: self.narrow(driver, hidden)?,
        })
    }
}

/// What a pass computes in, for batches of some tokens: taken once.
pub struct Room {
    /// One for each block if all is kept, or else one.
    places: Vec<Place>,
    /// What the last norm reads.
    pub last: Normed,
    /// (tokens, hidden): what it leaves.
    pub hidden: Buffer<f32>,
    /// (tokens, hidden): what norms and products leave, until it is used.
    pub wide: Buffer<f32>,
    /// (tokens, 3 · heads · wide): what the first product leaves.
    pub sums: Buffer<Bf16>,
}

impl Room {
    /// Enough to go forward.
    pub fn passing(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        Self::with(driver, size, 1)
    }

    /// Keeps what every block computes.
    pub fn keeping(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        Self::with(driver, size, size.config.blocks)
    }

    fn with(driver: &dyn Driver, size: Size<'_>, places: usize) -> Result<Self> {
        let hidden = size.config.hidden;
        Ok(Self {
            places: (0..places).map(|_| size.place(driver)).collect::<Result<_>>()?,
            last: size.normed(driver)?,
            hidden: size.wide(driver, hidden)?,
            wide: size.wide(driver, hidden)?,
            sums: size.narrow(driver, 3 * size.queries())?,
        })
    }

    /// What a block computes in.
    pub fn place(&self, block: usize) -> &Place {
        &self.places[block % self.places.len()]
    }

    /// What a block reads, of `blocks`; after all of them the last norm does.
    pub fn stream(&self, block: usize, blocks: usize) -> &Normed {
        if block < blocks { &self.place(block).normed[0] } else { &self.last }
    }
}
