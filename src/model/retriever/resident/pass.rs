//! What a retriever on a device makes of histories, as launches and products in f32: the
//! processor's steps, so that vectors differ in their last bits alone, and lists hardly ever.

use super::{Block, Resident, Site, Size};
use crate::device::Activation;
use crate::device::cuda::kernels::{
    Dropout, Embed, Indices, LayerNorm, Linear, Offsets, Pool, Pooling, SequenceAttention, Starts,
};
use crate::device::cuda::{Buffer, Driver, Product};
use crate::device::shape::NormShape;
use crate::error::Result;
use crate::model::retriever::Tokens;
use crate::model::retriever::pass::EPSILON;

/// What a pass computes in, for batches of some tokens.
pub struct PassRoom {
    /// (tokens, hidden): between blocks; what norms leave; what products leave.
    stream: Buffer<f32>,
    normed: Buffer<f32>,
    sums: Buffer<f32>,
    /// (tokens, 3 · heads · wide).
    qkv: Buffer<f32>,
    /// (tokens, heads · wide).
    mixed: Buffer<f32>,
    /// (tokens, 2): of norms.
    statistics: Buffer<f32>,
}

impl PassRoom {
    /// Takes it.
    pub fn new(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let hidden = size.config.hidden;
        Ok(Self {
            stream: size.wide(driver, hidden)?,
            normed: size.wide(driver, hidden)?,
            sums: size.wide(driver, hidden)?,
            qkv: size.wide(driver, 3 * size.queries())?,
            mixed: size.wide(driver, size.queries())?,
            statistics: size.wide(driver, 2)?,
        })
    }

    /// Of so many tokens.
    fn part(&self, rows: usize, size: Size<'_>) -> Result<PassRoom> {
        let [hidden, queries] = [rows * size.config.hidden, rows * size.queries()];
        Ok(Self {
            stream: self.stream.slice(0..hidden)?,
            normed: self.normed.slice(0..hidden)?,
            sums: self.sums.slice(0..hidden)?,
            qkv: self.qkv.slice(0..3 * queries)?,
            mixed: self.mixed.slice(0..queries)?,
            statistics: self.statistics.slice(0..2 * rows)?,
        })
    }
}

impl Resident {
    /// The last position's vector of each sequence, none of them empty: (sequences, hidden).
    pub(super) fn vectors(&self, room: &PassRoom, tokens: &Tokens) -> Result<Vec<f32>> {
        let (driver, hidden) = (&*self.driver, self.config.hidden);
        let room = &room.part(tokens.len(), self.size())?;
        let [item_table, position_table] = &self.weights.tables;
        let embed = Embed {
            hidden,
            items: &Indices::of(driver, &tokens.items)?,
            positions: &Indices::of(driver, &tokens.positions)?,
            item_table,
            position_table,
            kinds: None,
            scale: (hidden as f32).sqrt(),
            dropout: Dropout::NONE,
            out: &room.stream,
        };
        driver.launch(&embed.launch()?)?;
        let starts = &Starts::of(driver, tokens.offsets())?;
        for block in &self.weights.blocks {
            self.mix(room, starts, block)?;
            self.go_on(room, block)?;
        }
        self.norm(room, &self.weights.last_norm)?;
        let offsets = &Offsets::of(driver, tokens.offsets())?;
        let out = &Buffer::new(driver, (tokens.offsets().len() - 1) * hidden)?;
        let (pooling, x) = (Pooling::Last, &room.normed);
        driver.launch(&Pool { hidden, pooling, x, offsets, out }.launch()?)?;
        out.read(driver)
    }

    /// stream += output(attention(qkv(norm(stream)))).
    fn mix(&self, room: &PassRoom, starts: &Starts, block: &Block) -> Result<()> {
        let [first, output, ..] = &block.sites;
        self.norm(room, &block.norms[0])?;
        self.product(&room.normed, first, &room.qkv, (Activation::Identity, None))?;
        let call = SequenceAttention {
            size: [self.config.heads, self.heads.wide],
            scale: self.heads.scale(),
            starts,
            qkv: &room.qkv,
            out: &room.mixed,
        };
        self.driver.launch(&call.launch()?)?;
        self.product(&room.mixed, output, &room.sums, (Activation::Identity, Some(&room.stream)))
    }

    /// stream += second(relu(first(norm(stream)))).
    fn go_on(&self, room: &PassRoom, block: &Block) -> Result<()> {
        let [.., first, second] = &block.sites;
        self.norm(room, &block.norms[1])?;
        self.product(&room.normed, first, &room.sums, (Activation::Relu, None))?;
        self.product(&room.sums, second, &room.normed, (Activation::Identity, Some(&room.stream)))
    }

    /// Rows times a site's weight, with its bias, and what follows: added to a stream, or where the
    /// sums were.
    fn product(
        &self,
        x: &Buffer<f32>,
        Site { weight, bias }: &Site,
        sums: &Buffer<f32>,
        (activation, stream): (Activation, Option<&Buffer<f32>>),
    ) -> Result<()> {
        let outputs = bias.len();
        let size = [sums.len() / outputs, outputs];
        let inputs = weight.len() / outputs;
        self.driver.product(&Product::new([size[0], outputs, inputs], x, weight, sums)?)?;
        let (bias, dropout, out) = (Some(bias), Dropout::NONE, stream.unwrap_or(sums));
        let call = Linear { size, sums, bias, activation, dropout, residual: stream, out };
        self.driver.launch(&call.launch()?)
    }

    /// normed = norm(stream).
    fn norm(&self, room: &PassRoom, affine: &Buffer<f32>) -> Result<()> {
        let PassRoom { stream: x, normed: out, statistics, .. } = room;
        let (hidden, epsilon) = (self.config.hidden, EPSILON);
        let shape = NormShape { rows: x.len() / hidden, hidden };
        self.driver.launch(&LayerNorm { shape, x, affine, epsilon, out, statistics }.launch()?)
    }
}
