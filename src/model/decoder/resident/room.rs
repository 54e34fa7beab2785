//! What a decoder's passes compute in, on a device.

use super::pass::Norm;
use crate::device::cuda::kernels::Fp8Rows;
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::error::Result;
use crate::model::decoder::DecoderConfig;
use crate::model::resident::Heads;

/// What a layer computes, as its backward pass reads it.
pub struct Place {
    /// (tokens, hidden), and 1 / √(…) of each row.
    pub attention_normed: Buffer<Bf16>,
    pub attention_scales: Buffer<f32>,
    /// (tokens, columns): what each site's product leaves, before adapters are added.
    pub sums: [Buffer<Bf16>; 4],
    /// (tokens, (heads + 2 · shared) · wide): turned by position.
    pub qkv: Buffer<Bf16>,
    pub statistics: Buffer<f32>,
    pub mixed: Buffer<Bf16>,
    pub forward_normed: Buffer<Bf16>,
    pub forward_scales: Buffer<f32>,
    pub gated: Buffer<Bf16>,
    /// Rows on their way into a product, if weights are in FP8.
    pub quantised: Fp8Rows,
}

/// How large places are.
#[derive(Clone, Copy, Debug)]
pub struct Size<'a> {
    pub config: &'a DecoderConfig,
    pub heads: Heads,
    /// Of each site's product.
    pub columns: [usize; 4],
    /// Ranks of all adapters of a site, at most.
    pub ranks: usize,
    pub tokens: usize,
    /// Whether weights are in FP8.
    pub fp8: bool,
}

impl Size<'_> {
    /// Numbers of a token's queries, and of its queries, keys and values.
    pub fn rows(&self) -> [usize; 2] {
        let DecoderConfig { heads, shared, .. } = self.config;
        [*heads, heads + 2 * shared].map(|heads| heads * self.heads.wide)
    }

    /// Where rows of any product become FP8, if they do.
    fn quantised(&self, driver: &dyn Driver) -> Result<Fp8Rows> {
        let rows = if self.fp8 { self.tokens } else { 0 };
        let DecoderConfig { hidden, inner, .. } = *self.config;
        Fp8Rows::new(driver, rows, hidden.max(inner).max(self.rows()[0]))
    }

    /// What a layer's place takes that keeps everything, in bytes.
    pub fn layer_bytes(&self) -> usize {
        let DecoderConfig { hidden, inner, heads, .. } = *self.config;
        let [queries, qkv] = self.rows();
        let narrow = 2 * hidden + self.columns.iter().sum::<usize>() + qkv + queries + inner;
        self.tokens * (narrow * size_of::<Bf16>() + (2 + heads) * size_of::<f32>())
    }
}

impl Place {
    /// One that keeps everything until the backward pass.
    pub fn keeping(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let Size { config: DecoderConfig { hidden, inner, heads, .. }, tokens, .. } = size;
        let [queries, qkv] = size.rows();
        let narrow = |wide: usize| Buffer::new(driver, tokens * wide);
        let scales = || Buffer::new(driver, tokens);
        let [a, b, c, d] = size.columns;
        Ok(Self {
            attention_normed: narrow(*hidden)?,
            attention_scales: scales()?,
            sums: [narrow(a)?, narrow(b)?, narrow(c)?, narrow(d)?],
            qkv: narrow(qkv)?,
            statistics: Buffer::new(driver, tokens * heads)?,
            mixed: narrow(queries)?,
            forward_normed: narrow(*hidden)?,
            forward_scales: scales()?,
            gated: narrow(*inner)?,
            quantised: size.quantised(driver)?,
        })
    }

    /// The norm that a layer begins with.
    pub fn attention_norm<'a>(&'a self, weight: &'a Buffer<f32>) -> Norm<'a> {
        Norm { weight, rows: &self.attention_normed, scales: &self.attention_scales }
    }

    /// One whose parts take turns in the same memory: enough to go forward.
    pub fn passing(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let widest = size.columns.into_iter().max().unwrap_or(0);
        let Size { config: DecoderConfig { hidden, inner, heads, .. }, tokens, .. } = size;
        let [queries, qkv] = size.rows();
        let narrow = |wide: usize| Buffer::new(driver, tokens * wide);
        let (normed, sums) = (narrow(*hidden)?, narrow(widest)?);
        let scales = Buffer::new(driver, tokens)?;
        Ok(Self {
            attention_normed: normed.clone(),
            attention_scales: scales.clone(),
            sums: [0; 4].map(|_| sums.clone()),
            qkv: narrow(qkv)?,
            statistics: Buffer::new(driver, tokens * heads)?,
            mixed: narrow(queries)?,
            forward_normed: normed,
            forward_scales: scales,
            gated: narrow(*inner)?,
            quantised: size.quantised(driver)?,
        })
    }
}

/// What a pass computes in, for batches of some tokens: taken once.
pub struct Room {
    pub stream: Buffer<f32>,
    /// The rows that go on after the last layer's attention.
    pub last: Buffer<f32>,
    pub place: Place,
}

impl Room {
    /// Takes it.
    pub fn new(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let stream = || Buffer::new(driver, size.tokens * size.config.hidden);
        Ok(Self { stream: stream()?, last: stream()?, place: Place::passing(driver, size)? })
    }
}
