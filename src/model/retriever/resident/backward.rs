//! A retriever's backward pass on a device, as launches and products: the same steps as on the
//! processor.

use super::forward::Placed;
use super::learner::ResidentLearner;
use super::room::Room;
use super::{Resident, Size};
use crate::device::Queries;
use crate::device::cuda::kernels::{
    Dropout, GroupedAttentionBackward, LinearBackward, LookupBackward, Uses, Visits,
};
use crate::device::cuda::{Bf16, Buffer, Driver, Output};
use crate::device::shape::GroupedShape;
use crate::error::Result;
use crate::model::resident::{NormParts, Normed, SiteBackward, SiteRoom, clear, rounded};
use crate::model::retriever::Tokens;
use crate::model::retriever::tokens::{ATTENTION, EMBEDDING, FIRST, SECOND};
use std::ops::Range;

/// What the passes of a learner compute in.
pub struct LearningRoom {
    pub forward: Room,
    /// (tokens, hidden): the gradient of the model's output, and of what norms and products leave.
    pub d_branch: Buffer<f32>,
    /// (tokens, hidden): the output as products read it.
    pub rounded: Buffer<Bf16>,
    d_stream: Buffer<f32>,
    d_sums: Buffer<f32>,
    d_rounded: Buffer<Bf16>,
    d_mixed: Buffer<Bf16>,
    d_qkv: Buffer<Bf16>,
    alongs: Buffer<f32>,
    /// A norm's gradient, by blocks.
    parts: NormParts,
    pub sites: SiteRoom,
}

impl LearningRoom {
    /// Takes it.
    pub fn new(driver: &dyn Driver, size: Size<'_>) -> Result<Self> {
        let (hidden, tokens) = (size.config.hidden, size.tokens);
        Ok(Self {
            forward: Room::new(driver, size)?,
            d_branch: size.wide(driver, hidden)?,
            rounded: size.narrow(driver, hidden)?,
            d_stream: size.wide(driver, hidden)?,
            d_sums: size.wide(driver, hidden)?,
            d_rounded: size.narrow(driver, hidden)?,
            d_mixed: size.narrow(driver, size.queries())?,
            d_qkv: size.narrow(driver, 3 * size.queries())?,
            alongs: size.wide(driver, size.config.heads)?,
            parts: NormParts::new(driver, tokens, hidden)?,
            sites: SiteRoom::new(driver, tokens, 0)?,
        })
    }
}

/// A batch on the device, as its passes read it.
pub struct Learned {
    pub placed: Placed,
    /// Who is seen by which queries.
    visits: Visits,
    /// Which tokens have which items and positions.
    looked_up: [Uses; 2],
}

impl Learned {
    /// Copies a batch.
    pub fn of(resident: &Resident, tokens: &Tokens) -> Result<Self> {
        let (driver, hidden) = (&*resident.driver, resident.config.hidden);
        let (heads, width) = (resident.config.heads, resident.heads.wide);
        let offsets = tokens.offsets();
        let shape = GroupedShape { offsets, parents: &[], heads, shared: heads, width };
        let visits = Visits::of(driver, &shape, Queries::All)?;
        let uses = |at: usize, rows: &[u32]| {
            let table = resident.weights.tables[at].len() / hidden;
            Uses::of(driver, [table, hidden], rows.iter().copied().map(Some))
        };
        let looked_up = [uses(0, &tokens.items)?, uses(1, &tokens.positions)?];
        let placed = Placed::of(driver, tokens, visits.paths().clone())?;
        Ok(Self { placed, visits, looked_up })
    }
}

impl ResidentLearner {
    /// Adds to the gradient what follows from that of the output, which is in the room beside what
    /// the forward pass of the same batch has left.
    pub(super) fn backward(&self, with: &Learned) -> Result<()> {
        let (resident, room) = (&self.resident, &self.room);
        let (hidden, blocks) = (resident.config.hidden, resident.weights.blocks.len());
        let numbers = 0..with.placed.tokens() * hidden;
        let d_stream = &room.d_stream.slice(numbers.clone())?;
        let d_branch = &room.d_branch.slice(numbers.clone())?;
        clear(&*resident.driver, d_stream)?;
        let last = (&resident.weights.last_norm, &self.places.last_norm);
        self.norm_backward(&room.forward.last, last, [d_branch, d_stream])?;
        for b in (0..blocks).rev() {
            self.forward_products_backward(with, b, [d_stream, d_branch])?;
            self.attention_backward(with, b, [d_stream, d_branch])?;
        }
        let d_sums = &room.d_sums.slice(numbers)?;
        self.undrop(d_stream, None, with.placed.dropout(0, EMBEDDING), d_sums)?;
        let scales = [(hidden as f32).sqrt(), 1.0];
        for ((uses, place), scale) in with.looked_up.iter().zip(&self.places.tables).zip(scales) {
            let d_rows = &self.parameters.gradient(place)?;
            let call = LookupBackward { scale, uses, weights: None, x: d_sums, d_rows };
            resident.driver.launch_all(&call.launches()?)?;
        }
        Ok(())
    }

    /// d_stream, from what a block leaves to what is between its halves.
    fn forward_products_backward(
        &self,
        with: &Learned,
        b: usize,
        [d_stream, d_branch]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (place, placed) = (&self.room.forward.places[b], &with.placed);
        let d_sums = &self.room.d_sums.slice(0..d_stream.len())?;
        let d_out = &self.undrop(d_stream, None, placed.dropout(b, SECOND), d_sums)?;
        self.site_backward((b, 3), &place.active_rounded, d_out, d_branch)?;
        let active = &place.active.slice(0..d_stream.len())?;
        let d_out = &self.undrop(d_branch, Some(active), placed.dropout(b, FIRST), d_sums)?;
        self.site_backward((b, 2), &place.rounded[1], d_out, d_branch)?;
        self.half_norm_backward((b, 1), [d_branch, d_stream])
    }

    /// d_stream, from what is between a block's halves to what goes into it.
    fn attention_backward(
        &self,
        with: &Learned,
        b: usize,
        [d_stream, d_branch]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (resident, room) = (&self.resident, &self.room);
        let (place, placed, heads) = (&room.forward.places[b], &with.placed, resident.config.heads);
        let (rows, queries) = (placed.tokens(), heads * resident.heads.wide);
        let d_rounded = &rounded(self.driver(), d_stream, &room.d_rounded)?;
        let d_mixed = &room.d_mixed.slice(0..rows * queries)?;
        self.site_backward((b, 1), &place.mixed, d_rounded, d_mixed)?;
        let d_qkv = &room.d_qkv.slice(0..rows * 3 * queries)?;
        let call = GroupedAttentionBackward {
            visits: &with.visits,
            scale: resident.heads.scale(),
            qkv: &place.qkv.slice(0..rows * 3 * queries)?,
            dropout: placed.dropout(b, ATTENTION),
            statistics: &place.statistics.slice(0..rows * heads)?,
            out: &place.mixed.slice(0..rows * queries)?,
            d_out: d_mixed,
            alongs: &room.alongs.slice(0..rows * heads)?,
            d_qkv,
        };
        resident.driver.launch_all(&call.launches()?)?;
        self.site_backward((b, 0), &place.rounded[0], d_qkv, d_branch)?;
        self.half_norm_backward((b, 0), [d_branch, d_stream])
    }

    /// The gradient of what a product leaves, from that of what became of it: to `d_sums`, and as
    /// products read it.
    fn undrop(
        &self,
        d_out: &Buffer<f32>,
        active: Option<&Buffer<f32>>,
        dropout: Dropout<'_>,
        d_sums: &Buffer<f32>,
    ) -> Result<Buffer<Bf16>> {
        let hidden = self.resident.config.hidden;
        let rounded = self.room.d_rounded.slice(0..d_out.len())?;
        let size = [d_out.len() / hidden, hidden];
        let call = LinearBackward { size, d_out, active, dropout, d_sums, rounded: &rounded };
        self.resident.driver.launch(&call.launch()?)?;
        Ok(rounded)
    }

    /// d_x = the gradient of a site's rows; its weight's is added to.
    fn site_backward<T: Output>(
        &self,
        (b, site): (usize, usize),
        x: &Buffer<Bf16>,
        d_out: &Buffer<Bf16>,
        d_x: &Buffer<T>,
    ) -> Result<()> {
        let Self { multiplied, places, parameters, room, .. } = self;
        let with = &multiplied[b][site];
        let trained = &places.blocks[b].sites[site];
        let (rows, room) = (d_out.len() / with.adapters.outputs(), &room.sites);
        SiteBackward { parameters, room, with, trained, rows, x, sums: d_out, d_out }
            .run(d_x, false)
    }

    /// As [`ResidentLearner::norm_backward`], of a block's half.
    fn half_norm_backward(
        &self,
        (b, half): (usize, usize),
        gradients: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let norm = &self.resident.weights.blocks[b].norms[half];
        let from = &self.room.forward.places[b].normed[half];
        self.norm_backward(from, (norm, &self.places.blocks[b].norms[half]), gradients)
    }

    /// d_x += what comes through a norm from d_out; its weight's and bias's gradient is added to.
    fn norm_backward(
        &self,
        from: &Normed,
        (affine, trained): (&Buffer<f32>, &Range<usize>),
        gradients: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let norm = (affine, Some(trained));
        from.backward((&self.parameters, &self.room.parts), norm, gradients)
    }
}
