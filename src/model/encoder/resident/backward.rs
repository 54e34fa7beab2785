//! A BERT's backward pass on a device, as launches and products: the same steps as on the
//! processor.

use super::learner::ResidentLearner;
use super::room::{Room, Size};
use super::{Placed, Resident};
use crate::device::cuda::kernels::{
    Dropout, GroupedAttentionBackward, LookupBackward, LoraGeluBackward, PoolBackward, Uses, Visits,
};
use crate::device::cuda::{Bf16, Buffer, Driver, Output};
use crate::error::Result;
use crate::model::encoder::Batch;
use crate::model::resident::{NormParts, Normed, SiteBackward, SiteRoom, clear, rounded};
use std::ops::Range;

/// What the passes of a learner compute in.
pub struct LearningRoom {
    pub forward: Room,
    /// The stream's gradient, before and after half a layer.
    d_streams: [Buffer<f32>; 2],
    d_rounded: Buffer<Bf16>,
    d_mixed: Buffer<Bf16>,
    d_qkv: Buffer<Bf16>,
    alongs: Buffer<f32>,
    d_wide: Buffer<Bf16>,
    /// A norm's gradient, by blocks.
    parts: NormParts,
    sites: SiteRoom,
}

impl LearningRoom {
    /// Takes it.
    pub fn new(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let (hidden, tokens) = (size.config.hidden, size.tokens);
        Ok(Self {
            forward: Room::keeping(driver, size)?,
            d_streams: [size.wide(driver, hidden)?, size.wide(driver, hidden)?],
            d_rounded: size.narrow(driver, hidden)?,
            d_mixed: size.narrow(driver, size.queries())?,
            d_qkv: size.narrow(driver, 3 * size.queries())?,
            alongs: size.wide(driver, size.config.heads)?,
            d_wide: size.narrow(driver, size.config.inner)?,
            parts: NormParts::new(driver, tokens, hidden)?,
            sites: SiteRoom::new(driver, tokens, size.ranks)?,
        })
    }
}

/// A batch on the device, as its passes read it.
pub struct Learned {
    pub placed: Placed,
    /// Who is seen by which queries.
    visits: Visits,
    /// Which tokens have which rows of each table, if those are trained.
    looked_up: Option<[Uses; 3]>,
}

impl Learned {
    /// Copies a batch.
    pub fn of(resident: &Resident, batch: &Batch, tables: bool) -> Result<Self> {
        let driver = &*resident.driver;
        let visits = Visits::mutual(driver, &resident.shape(batch))?;
        let uses = |at: usize, rows: &[u32]| {
            let hidden = resident.config.hidden;
            let table = resident.weights.tables[at].len() / hidden;
            Uses::of(driver, [table, hidden], rows.iter().copied().map(Some))
        };
        let all = || {
            let [tokens, positions, kinds] = [&batch.tokens, &batch.positions, &batch.kinds];
            Ok([uses(0, tokens)?, uses(1, positions)?, uses(2, kinds)?])
        };
        let looked_up = tables.then(all).transpose()?;
        let placed = resident.place(batch, visits.paths().clone())?;
        Ok(Self { placed, visits, looked_up })
    }
}

impl ResidentLearner {
    /// Adds to the gradient what follows from that of the pooled rows. The room holds what the
    /// forward pass of the same batch has left.
    pub(super) fn backward(&self, with: &Learned, d_pooled: &[f32]) -> Result<()> {
        let (resident, hidden) = (&self.resident, self.resident.config.hidden);
        let numbers = 0..with.placed.tokens.len() * hidden;
        let [d_stream, d_other] = &self.room.d_streams;
        let (d_stream, d_other) = (&d_stream.slice(numbers.clone())?, &d_other.slice(numbers)?);
        let d_out = &Buffer::of(&*resident.driver, d_pooled)?;
        let call = PoolBackward { hidden, offsets: &with.placed.offsets, d_out, d_x: d_stream };
        resident.driver.launch(&call.launch()?)?;
        for l in (0..resident.weights.layers.len()).rev() {
            self.forward_products_backward(with, l, [d_stream, d_other])?;
            self.attention_backward(with, l, [d_other, d_stream])?;
        }
        self.tables_backward(with, [d_stream, d_other])
    }

    /// From a layer's output to what goes into its forward products.
    fn forward_products_backward(
        &self,
        with: &Learned,
        l: usize,
        [d_out, d_middle]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (resident, room) = (&self.resident, &self.room);
        let (layer, place) = (&resident.weights.layers[l], room.forward.place(l));
        let rows = with.placed.tokens.len();
        let trained = self.places.layers[l].norms.as_ref().map(|[_, last]| last);
        self.norm_backward(&place.normed[1], (&layer.last_norm, trained), [d_out, d_middle])?;
        let d_rounded = &rounded(&*resident.driver, d_middle, &room.d_rounded)?;
        let d_wide = &room.d_wide.slice(0..rows * resident.config.inner)?;
        self.site_backward((l, 3), &place.active, d_rounded, (d_wide, false))?;
        let widen = &layer.sites[2];
        let sums = &widen.left(rows, &place.sums[2])?;
        let sums = widen.sums(rows, sums, &with.placed.chosen);
        resident.driver.launch(&LoraGeluBackward { sums, d: d_wide }.launch()?)?;
        self.site_backward((l, 2), &place.rounded[1], d_wide, (d_middle, true))
    }

    /// From what goes into a layer's forward products to what goes into the layer.
    fn attention_backward(
        &self,
        with: &Learned,
        l: usize,
        [d_middle, d_stream]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (resident, room) = (&self.resident, &self.room);
        let (driver, heads) = (&*resident.driver, resident.config.heads);
        let (layer, place) = (&resident.weights.layers[l], room.forward.place(l));
        let (rows, queries) = (with.placed.tokens.len(), heads * resident.heads.wide);
        let trained = self.places.layers[l].norms.as_ref().map(|[attention, _]| attention);
        let norm = (&layer.attention_norm, trained);
        self.norm_backward(&place.normed[0], norm, [d_middle, d_stream])?;
        let d_rounded = &rounded(driver, d_stream, &room.d_rounded)?;
        let d_mixed = &room.d_mixed.slice(0..rows * queries)?;
        self.site_backward((l, 1), &place.mixed, d_rounded, (d_mixed, false))?;
        let d_qkv = &room.d_qkv.slice(0..rows * 3 * queries)?;
        let call = GroupedAttentionBackward {
            visits: &with.visits,
            dropout: Dropout::NONE,
            scale: resident.heads.scale(),
            qkv: &place.qkv.slice(0..rows * 3 * queries)?,
            statistics: &place.statistics.slice(0..rows * heads)?,
            out: &place.mixed.slice(0..rows * queries)?,
            d_out: d_mixed,
            alongs: &room.alongs.slice(0..rows * heads)?,
            d_qkv,
        };
        driver.launch_all(&call.launches()?)?;
        self.site_backward((l, 0), &place.rounded[0], d_qkv, (d_stream, true))
    }

    /// From what goes into the first layer to the tables, if they are trained.
    fn tables_backward(&self, with: &Learned, [d_out, d_x]: [&Buffer<f32>; 2]) -> Result<()> {
        let (Some(uses), Some(places)) = (&with.looked_up, &self.places.tables) else {
            return Ok(());
        };
        let resident = &self.resident;
        let norm = (&resident.weights.first_norm, self.places.first_norm.as_ref());
        self.norm_backward(&self.room.forward.embedded, norm, [d_out, d_x])?;
        for (uses, place) in uses.iter().zip(places) {
            let d_rows = &self.parameters.gradient(place)?;
            let call = LookupBackward { scale: 1.0, uses, weights: None, x: d_x, d_rows };
            resident.driver.launch_all(&call.launches()?)?;
        }
        Ok(())
    }

    /// d_x = the gradient of a site's rows, or d_x += that; its weight's or its factors' is added
    /// to.
    fn site_backward<T: Output>(
        &self,
        (l, site): (usize, usize),
        x: &Buffer<Bf16>,
        d_out: &Buffer<Bf16>,
        (d_x, add): (&Buffer<T>, bool),
    ) -> Result<()> {
        let Self { resident, places, parameters, room, .. } = self;
        let with = &resident.weights.layers[l].sites[site];
        let trained = &places.layers[l].sites[site];
        let (rows, sums) =
            (d_out.len() / with.adapters.outputs(), &room.forward.place(l).sums[site]);
        let room = &room.sites;
        SiteBackward { parameters, room, with, trained, rows, x, sums, d_out }.run(d_x, add)
    }

    /// d_x = what comes through a norm from d_out; its weight's and bias's gradient is added to.
    fn norm_backward(
        &self,
        from: &Normed,
        norm: (&Buffer<f32>, Option<&Range<usize>>),
        [d_out, d_x]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        clear(&*self.resident.driver, d_x)?;
        from.backward((&self.parameters, &self.room.parts), norm, [d_out, d_x])
    }
}
