//! A BERT's forward pass on a device, as launches: the same steps as on the processor. Where a
//! layer's product is followed by something, one kernel adds the change and does that as well.

use super::room::{Place, Room};
use super::{Layer, Placed, Resident};
use crate::device::cuda::kernels::{
    Dropout, Embed, GroupedAttention, LoraGelu, LoraLinear, LoraSums, Pool, Pooling,
};
use crate::device::cuda::{Bf16, Buffer};
use crate::error::Result;
use crate::model::resident::{Normed, rounded};

impl Resident {
    /// The texts' pooled rows. What layers compute stays in the room, of all of them if it has a
    /// place for each.
    pub(super) fn forward(&self, room: &Room, placed: &Placed) -> Result<Buffer<f32>> {
        let (driver, hidden) = (&*self.driver, self.config.hidden);
        let stream = &room.stream.slice(0..placed.tokens.len() * hidden)?;
        self.embed(room, placed, stream)?;
        rounded(driver, stream, &room.place(0).rounded[0])?;
        let layers = &self.weights.layers;
        for (l, layer) in layers.iter().enumerate() {
            let next = (l + 1 < layers.len()).then(|| &room.place(l + 1).rounded[0]);
            self.mix(room.place(l), placed, layer, stream)?;
            self.go_on(room.place(l), placed, layer, stream, next)?;
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
        let norm = (&self.weights.first_norm, self.config.epsilon);
        room.embedded.norm(&*self.driver, norm, stream)
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
        let sums = &qkv_site.product(driver, (rows, &place.rounded[0]), None, &place.sums[0])?;
        let sums = qkv_site.sums(rows, sums, chosen);
        driver.launch(&LoraLinear { sums, out: qkv }.launch()?)?;
        let statistics = &place.statistics.slice(0..rows * heads)?;
        let (paths, scale) = (&placed.paths, self.heads.scale());
        let (kept, dropout) = (None, Dropout::NONE);
        let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: mixed };
        driver.launch(&call.launch()?)?;
        let sums = &output.product(driver, (rows, mixed), None, &place.sums[1])?;
        let norm = (&place.normed[0], &layer.attention_norm);
        self.follow(output.sums(rows, sums, chosen), norm, stream, Some(&place.rounded[1]))
    }

    /// stream = norm(stream + narrow(gelu(widen(stream)))), also where the next layer reads it.
    fn go_on(
        &self,
        place: &Place,
        placed: &Placed,
        layer: &Layer,
        stream: &Buffer<f32>,
        next: Option<&Buffer<Bf16>>,
    ) -> Result<()> {
        let (driver, rows) = (&*self.driver, placed.tokens.len());
        let ([.., widen, narrow], chosen) = (&layer.sites, &placed.chosen);
        let active = &place.active.slice(0..rows * self.config.inner)?;
        let sums = &widen.product(driver, (rows, &place.rounded[1]), None, &place.sums[2])?;
        let sums = widen.sums(rows, sums, chosen);
        driver.launch(&LoraGelu { sums, out: active }.launch()?)?;
        let sums = &narrow.product(driver, (rows, active), None, &place.sums[3])?;
        let norm = (&place.normed[1], &layer.last_norm);
        self.follow(narrow.sums(rows, sums, chosen), norm, stream, next)
    }

    /// stream = norm(stream + what a product adds), in one launch; also as products read it.
    fn follow(
        &self,
        sums: LoraSums<'_>,
        (normed, affine): (&Normed, &Buffer<f32>),
        stream: &Buffer<f32>,
        rounded: Option<&Buffer<Bf16>>,
    ) -> Result<()> {
        let norm = (affine, self.config.epsilon);
        normed.follow(&*self.driver, sums, norm, stream, rounded)
    }
}
