//! The forward pass of a retriever that learns on a device, as launches and products: the same
//! steps as on the processor. What is multiplied is bf16; sums, norms and the stream between blocks
//! are f32.

use super::learner::ResidentLearner;
use crate::device::Activation;
use crate::device::cuda::kernels::{
    Dropout, Embed, GroupedAttention, Indices, Linear, LoraLinear, Paths,
};
use crate::device::cuda::{Bf16, Buffer, Driver, Product};
use crate::error::Result;
use crate::model::resident::{Multiplied, rounded};
use crate::model::retriever::Tokens;
use crate::model::retriever::pass::EPSILON;
use crate::model::retriever::tokens::{ATTENTION, EMBEDDING, FIRST, SECOND, site};

/// What becomes of a product's sums: see [`Linear`].
#[derive(Clone, Copy)]
struct Then<'a> {
    activation: Activation,
    dropout: Dropout<'a>,
    residual: Option<&'a Buffer<f32>>,
}

/// A batch on the device.
pub struct Placed {
    items: Indices,
    positions: Indices,
    paths: Paths,
    /// No token has an adapter.
    chosen: Indices,
    /// The rate, and a key for each token, if anything is dropped.
    dropped: Option<(f32, Buffer<u64>)>,
}

impl Placed {
    /// Copies a batch, of which queries see what `paths` say.
    pub fn of(driver: &dyn Driver, tokens: &Tokens, paths: Paths) -> Result<Self> {
        let drops = tokens.dropout > 0.0;
        let keys = drops.then(|| Buffer::of(driver, &tokens.keys)).transpose()?;
        Ok(Self {
            items: Indices::of(driver, &tokens.items)?,
            positions: Indices::of(driver, &tokens.positions)?,
            paths,
            chosen: Indices::of_some(driver, &vec![None; tokens.len()])?,
            dropped: keys.map(|keys| (tokens.dropout, keys)),
        })
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.items.len()
    }

    /// What a site of a block drops.
    pub fn dropout(&self, block: usize, of: u64) -> Dropout<'_> {
        match &self.dropped {
            Some((rate, keys)) => Dropout { rate: *rate, site: site(block, of), keys: Some(keys) },
            None => Dropout::NONE,
        }
    }
}

impl ResidentLearner {
    /// Leaves each token's output in the room, and what blocks compute.
    pub(super) fn forward(&self, placed: &Placed) -> Result<()> {
        let (room, hidden) = (&self.room.forward, self.resident.config.hidden);
        let numbers = placed.tokens() * hidden;
        let [item_table, position_table] = &self.resident.weights.tables;
        let embed = Embed {
            hidden,
            items: &placed.items,
            positions: &placed.positions,
            item_table,
            position_table,
            kinds: None,
            scale: (hidden as f32).sqrt(),
            dropout: placed.dropout(0, EMBEDDING),
            out: &room.stream(0).x.slice(0..numbers)?,
        };
        self.driver().launch(&embed.launch()?)?;
        for b in 0..room.places.len() {
            self.mix(placed, b)?;
            self.go_on(placed, b, &room.stream(b + 1).x.slice(0..numbers)?)?;
        }
        let last_norm = (&self.resident.weights.last_norm, EPSILON);
        room.last.norm(self.driver(), last_norm, &room.hidden.slice(0..numbers)?)
    }

    /// middle = stream + output(attention(qkv(norm(stream)))).
    fn mix(&self, placed: &Placed, b: usize) -> Result<()> {
        let (driver, room, resident) = (self.driver(), &self.room.forward, &self.resident);
        let (norms, place) = (&resident.weights.blocks[b].norms, &room.places[b]);
        let (heads, rows) = (resident.config.heads, placed.tokens());
        let numbers = rows * resident.config.hidden;
        let queries = heads * resident.heads.wide;
        let qkv = &place.qkv.slice(0..rows * 3 * queries)?;
        let mixed = &place.mixed.slice(0..rows * queries)?;
        let wide = &room.wide.slice(0..numbers)?;
        place.normed[0].norm(driver, (&norms[0], EPSILON), wide)?;
        let x = &rounded(driver, wide, &place.rounded[0])?;
        let [first, output, ..] = &self.multiplied[b];
        let sums = &first.product(driver, (rows, x), None, &room.sums)?;
        let sums = first.sums(rows, sums, &placed.chosen);
        driver.launch(&LoraLinear { sums, out: qkv }.launch()?)?;
        let statistics = &place.statistics.slice(0..rows * heads)?;
        let (paths, scale, kept) = (&placed.paths, resident.heads.scale(), None);
        let dropout = placed.dropout(b, ATTENTION);
        let call = GroupedAttention { paths, scale, qkv, kept, dropout, statistics, out: mixed };
        driver.launch(&call.launch()?)?;
        let residual = Some(&place.normed[0].x.slice(0..numbers)?);
        let then = Then { activation: Activation::Identity, dropout: Dropout::NONE, residual };
        self.product((rows, mixed, output), then, &place.normed[1].x.slice(0..numbers)?)
    }

    /// stream = middle + drop(second(drop(relu(first(norm(middle)))))).
    fn go_on(&self, placed: &Placed, b: usize, stream: &Buffer<f32>) -> Result<()> {
        let (driver, room) = (self.driver(), &self.room.forward);
        let norms = &self.resident.weights.blocks[b].norms;
        let (place, rows) = (&room.places[b], placed.tokens());
        let [.., first, second] = &self.multiplied[b];
        let wide = &room.wide.slice(0..stream.len())?;
        place.normed[1].norm(driver, (&norms[1], EPSILON), wide)?;
        let x = &rounded(driver, wide, &place.rounded[1])?;
        let active = &place.active.slice(0..stream.len())?;
        let (activation, dropout) = (Activation::Relu, placed.dropout(b, FIRST));
        let then = Then { activation, dropout, residual: None };
        self.product((rows, x, first), then, active)?;
        let x = &rounded(driver, active, &place.active_rounded)?;
        let residual = Some(&place.normed[1].x.slice(0..stream.len())?);
        let dropout = placed.dropout(b, SECOND);
        let then = Then { activation: Activation::Identity, dropout, residual };
        self.product((rows, x, second), then, stream)
    }

    /// Rows times a site's weight, with its bias, and what follows, in f32.
    fn product(
        &self,
        (rows, x, with): (usize, &Buffer<Bf16>, &Multiplied),
        then: Then<'_>,
        out: &Buffer<f32>,
    ) -> Result<()> {
        let (outputs, inputs) = (with.adapters.outputs(), with.adapters.inputs());
        let sums = &self.room.forward.wide.slice(0..rows * outputs)?;
        let weight = with.adapters.weight()?;
        self.driver().product(&Product::new([rows, outputs, inputs], x, weight, sums)?)?;
        let Then { activation, dropout, residual } = then;
        let (size, bias) = ([rows, outputs], with.bias.as_ref());
        let call = Linear { size, sums, bias, activation, dropout, residual, out };
        self.driver().launch(&call.launch()?)
    }
}
