//! What the forward pass of a retriever that learns computes in, and keeps for the backward pass.

use super::Size;
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::error::Result;
use crate::model::resident::Normed;
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

impl Size<'_> {
    fn normed(&self, driver: &dyn Driver) -> Result<Normed> {
        Normed::new(driver, self.tokens, self.config.hidden)
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

/// For batches of some tokens: taken once.
pub struct Room {
    /// One for each block.
    pub places: Vec<Place>,
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
    /// Takes it.
    pub fn new(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let hidden = size.config.hidden;
        Ok(Self {
            places: (0..size.config.blocks).map(|_| size.place(driver)).collect::<Result<_>>()?,
            last: size.normed(driver)?,
            hidden: size.wide(driver, hidden)?,
            wide: size.wide(driver, hidden)?,
            sums: size.narrow(driver, 3 * size.queries())?,
        })
    }

    /// What a block reads; after all of them the last norm does.
    pub fn stream(&self, block: usize) -> &Normed {
        self.places.get(block).map_or(&self.last, |place| &place.normed[0])
    }
}
