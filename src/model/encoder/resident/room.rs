//! What a BERT's passes compute in, on a device.

use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::error::Result;
use crate::model::encoder::BertConfig;
use crate::model::resident::{Heads, Normed};

/// What a layer computes, as its backward pass reads it.
pub struct Place {
    /// (tokens, hidden): what goes into the layer, and into its forward products, as products read
    /// it.
    pub rounded: [Buffer<Bf16>; 2],
    /// (tokens, columns): what each site's product leaves, before adapters are added.
    pub sums: [Buffer<Bf16>; 4],
    /// (tokens, 3 · heads · wide).
    pub qkv: Buffer<Bf16>,
    /// (tokens, heads): of attention.
    pub statistics: Buffer<f32>,
    /// (tokens, heads · wide).
    pub mixed: Buffer<Bf16>,
    /// (tokens, inner).
    pub active: Buffer<Bf16>,
    /// What each of the two norms reads.
    pub normed: [Normed; 2],
}

/// How large places are.
#[derive(Clone, Copy)]
pub struct Size<'a> {
    pub config: &'a BertConfig,
    pub heads: Heads,
    /// Of each site's product.
    pub columns: [usize; 4],
    /// Ranks of a site's change, at most.
    pub ranks: usize,
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
        Normed::new(driver, self.tokens, self.config.hidden)
    }
}

impl Place {
    /// One that keeps everything until the backward pass.
    fn keeping(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let (hidden, [a, b, c, d]) = (size.config.hidden, size.columns);
        let narrow = |columns| size.narrow(driver, columns);
        let sums = [narrow(a)?, narrow(b)?, narrow(c)?, narrow(d)?];
        let normed = [size.normed(driver)?, size.normed(driver)?];
        Self::with(driver, size, (sums, [narrow(hidden)?, narrow(hidden)?], normed))
    }

    /// One whose parts take turns in the same memory: enough to go forward.
    fn passing(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let rounded = size.narrow(driver, size.config.hidden)?;
        let sums = size.narrow(driver, size.columns.into_iter().max().unwrap_or(0))?;
        let (sums, normed) = ([0; 4].map(|_| sums.clone()), size.normed(driver)?);
        Self::with(driver, size, (sums, [rounded.clone(), rounded], [normed.clone(), normed]))
    }

    fn with(
        driver: &dyn Driver,
        size: Size<'_>,
        (sums, rounded, normed): ([Buffer<Bf16>; 4], [Buffer<Bf16>; 2], [Normed; 2]),
    ) -> Result<Self> {
        let BertConfig { inner, heads, .. } = *size.config;
        Ok(Self {
            rounded,
            sums,
            qkv: size.narrow(driver, 3 * size.queries())?,
            statistics: size.wide(driver, heads)?,
            mixed: size.narrow(driver, size.queries())?,
            active: size.narrow(driver, inner)?,
            normed,
        })
    }
}

/// What a pass computes in, for batches of some tokens: taken once.
pub struct Room {
    /// (tokens, hidden): between layers, and between a layer's halves.
    pub stream: Buffer<f32>,
    /// The sums of the embeddings.
    pub embedded: Normed,
    /// One for each layer if all is kept, or else one.
    places: Vec<Place>,
}

impl Room {
    /// Enough to go forward.
    pub fn passing(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        Self::with(driver, size, vec![Place::passing(driver, size)?])
    }

    /// Keeps what every layer computes.
    pub fn keeping(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let places = (0..size.config.layers).map(|_| Place::keeping(driver, size));
        Self::with(driver, size, places.collect::<Result<_>>()?)
    }

    fn with(driver: &dyn Driver, size: Size<'_>, places: Vec<Place>) -> Result<Self> {
        let stream = size.wide(driver, size.config.hidden)?;
        Ok(Self { stream, embedded: size.normed(driver)?, places })
    }

    /// What a layer computes in.
    pub fn place(&self, layer: usize) -> &Place {
        &self.places[layer % self.places.len()]
    }
}
