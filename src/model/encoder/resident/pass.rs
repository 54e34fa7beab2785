//! A BERT's forward pass on a device, as launches: the same steps as on the processor. Where a
//! layer's product is followed by something, one kernel adds the change and does that as well.

use super::room::{Place, Room};
use super::{Layer, Placed, Resident};
use crate::device::cuda::Buffer;
use crate::device::cuda::kernels::{
    Dropout, Embed, GroupedAttention, LoraGelu, LoraLinear, LoraResidual, Pool, Pooling,
};
use crate::error::Result;
use crate::model::resident::{Normed, rounded};

impl Resident {
    /// The texts' pooled rows. What layers compute stays in the room, of all of them if it has a
    /// place for each.
    pub(super) fn forward(&self, room: &Room, placed: &Placed) -> Result<Buffer<f32>> {
        let (driver, hidden) = (&*self.driver, self.config.hidden);
        let stream = &room.stream.slice(0..placed.tokens.len() * hidden)?;
        self.embed(room, placed, stream)?;
        for (l, layer) in self.weights.layers.iter().enumerate() {
            self.mix(room.place(l), placed, layer, stream)?;
            self.go_on(room.place(l), placed, layer, stream)?;
        }
        let out = Buffer::new(driver, placed.texts * hidden)?;
        let (pooling, offsets) = (Pooling::Mean, &placed.offsets);
        driver.launch(&Pool { hidden, pooling, x: stream, offsets, out: &out }.launch()?)?;
        Ok(out)
    }

    /// stream = norm(token + position + kind).
    fn embed(&self, room: &Room, placed: &Placed, stream: &Buffer<f32>) -> Result<()> {
        let [tokens, positions, kinds] = &self.weights.tables;
        let embed = Embed {
            hidden: self.config.hidden,
            items: &placed.tokens,
            positions: &placed.positions,
            item_table: tokens,
            position_table: positions,
            kinds: Some((&placed.kinds, kinds)),
            scale: 1.0,
            dropout: Dropout::NONE,
            out: &room.embedded.x.slice(0..stream.len())?,
        };
        self.driver.launch(&embed.launch()?)?;
        self.norm(&room.embedded, &self.weights.first_norm, stream)
    }

    /// stream = norm(stream + output(attention(qkv(stream)))).
    fn mix(
        &self,
        place: &Place,
        placed: &Placed,
        layer: &Layer,
        stream: &Buffer<f32>,
    ) -> Result<()> {
        let (driver, heads, rows) = (&*self.driver, self.config.heads, placed.tokens.len());
        let ([qkv_site, output, ..], chosen) = (&layer.sites, &placed.chosen);
        let queries = heads * self.heads.wide;
        let qkv = &place.qkv.slice(0..rows * 3 * queries)?;
        let mixed = &place.mixed.slice(0..rows * queries)?;
        let x = &rounded(driver, stream, &place.rounded[0])?;
        let sums = &qkv_site.product(driver, (rows, x), None, &place.sums[0])?;
        let sums = qkv_site.sums(rows, sums, chosen);
        driver.launch(&LoraLinear { sums, out: qkv }.launch()?)?;
        let statistics = &place.statistics.slice(0..rows * heads)?;
        let (paths, scale) = (&placed.paths, self.heads.scale());
        let (kept, dropout) = (None, Dropout::NONE);
        let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: mixed };
        driver.launch(&call.launch()?)?;
        let sums = &output.product(driver, (rows, mixed), None, &place.sums[1])?;
        let (sums, out) = (output.sums(rows, sums, chosen), &place.normed[0].x);
        let out = &out.slice(0..stream.len())?;
        driver.launch(&LoraResidual { sums, residual: stream, from: None, out }.launch()?)?;
        self.norm(&place.normed[0], &layer.attention_norm, stream)
    }

    /// stream = norm(stream + narrow(gelu(widen(stream)))).
    fn go_on(
        &self,
        place: &Place,
        placed: &Placed,
        layer: &Layer,
        stream: &Buffer<f32>,
    ) -> Result<()> {
        let (driver, rows) = (&*self.driver, placed.tokens.len());
        let ([.., widen, narrow], chosen) = (&layer.sites, &placed.chosen);
        let active = &place.active.slice(0..rows * self.config.inner)?;
        let x = &rounded(driver, stream, &place.rounded[1])?;
        let sums = &widen.product(driver, (rows, x), None, &place.sums[2])?;
        let sums = widen.sums(rows, sums, chosen);
        driver.launch(&LoraGelu { sums, out: active }.launch()?)?;
        let sums = &narrow.product(driver, (rows, active), None, &place.sums[3])?;
        let (sums, out) = (narrow.sums(rows, sums, chosen), &place.normed[1].x);
        let out = &out.slice(0..stream.len())?;
        driver.launch(&LoraResidual { sums, residual: stream, from: None, out }.launch()?)?;
        self.norm(&place.normed[1], &layer.last_norm, stream)
    }

    fn norm(&self, from: &Normed, affine: &Buffer<f32>, out: &Buffer<f32>) -> Result<()> {
        from.norm(&*self.driver, (affine, self.config.epsilon), out)
    }
}
