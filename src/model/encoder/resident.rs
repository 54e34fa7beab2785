//! A BERT whose weights lie on a device, where texts become their pooled rows: the same steps as on
//! the processor, as launches.
//!
//! What is multiplied is bf16; sums, norms and the stream between layers are f32. A text's row has
//! the same bits whatever texts are encoded with it.

use super::BertConfig;
use super::batch::{Batch, Piece, by_length};
use super::bert::{self, Bert, Site};
use crate::device::cuda::kernels::{
    Adapters, Dropout, Embed, GroupedAttention, Indices, LayerNorm, LoraGelu, LoraLinear,
    LoraResidual, LoraSums, Offsets, Paths, Pool, Pooling, Round,
};
use crate::device::cuda::{Bf16, Buffer, Driver, Product, SharedDriver};
use crate::device::shape::{GroupedShape, NormShape};
use crate::error::{Error, Result};
use crate::model::decoder::resident::heads::Heads;
use std::sync::{Mutex, PoisonError};

/// Rows that kernels read are as wide as a multiple of this.
const EIGHT: usize = 8;
/// Numbers of a row that is normalised.
const HIDDEN_MAX: usize = 1024;

/// A BERT on a device.
pub struct Resident {
    driver: SharedDriver,
    config: BertConfig,
    heads: Heads,
    weights: Weights,
    /// Tokens of a batch.
    tokens_max: usize,
    /// What a pass computes in: one at a time.
    room: Mutex<Room>,
}

/// What stays on the device.
struct Weights {
    tokens: Buffer<f32>,
    /// (kinds · positions, hidden): a position's row and a kind's, added.
    places: Buffer<f32>,
    first_norm: Buffer<f32>,
    layers: Vec<Layer>,
}

struct Layer {
    /// In the order of [`super::layout::SITES`], without changes.
    sites: [Multiplied; 4],
    attention_norm: Buffer<f32>,
    last_norm: Buffer<f32>,
}

/// A weight and its bias.
struct Multiplied {
    weight: Adapters,
    bias: Buffer<f32>,
}

/// What a pass computes in.
struct Room {
    /// (tokens, hidden): the stream, and what is added to it before a norm.
    streams: [Buffer<f32>; 2],
    rounded: Buffer<Bf16>,
    sums: Buffer<Bf16>,
    qkv: Buffer<Bf16>,
    mixed: Buffer<Bf16>,
    active: Buffer<Bf16>,
    /// Of norms, and of attention.
    statistics: Buffer<f32>,
}

/// What launches need to know of a batch.
struct Placed {
    tokens: Indices,
    places: Indices,
    /// Each token's adapter: none.
    chosen: Indices,
    paths: Paths,
    offsets: Offsets,
    texts: usize,
}

impl Resident {
    /// Copies a BERT to a device, with room for batches of so many tokens, or of one text. What is
    /// learned beside its weights is added to them.
    ///
    /// Errors: [`Error::Device`] for dimensions that the kernels do not take, and if the device has
    /// too little memory or fails.
    pub fn of(driver: SharedDriver, bert: &Bert, tokens_max: usize) -> Result<Self> {
        let config = bert.config.clone();
        if let Some(why) = Self::refusal(&config) {
            return Err(Error::Device(why));
        }
        let heads = Heads::new(config.width())?;
        let tokens_max = tokens_max.max(config.context_max);
        let weights = Weights::of(&*driver, bert, heads)?;
        let room = Mutex::new(Room::new(&*driver, &config, heads, tokens_max)?);
        Ok(Self { driver, config, heads, weights, tokens_max, room })
    }

    /// What keeps a BERT of these dimensions from being copied to a device, if anything does.
    pub fn refusal(config: &BertConfig) -> Option<String> {
        let BertConfig { hidden, inner, .. } = *config;
        if let Err(error) = Heads::new(config.width()) {
            return Some(error.to_string());
        }
        let fits = [hidden, inner].iter().all(|wide| wide.is_multiple_of(EIGHT));
        (!fits || hidden > HIDDEN_MAX).then(|| {
            format!(
                "expected an encoder whose widths are multiples of {EIGHT}, the stream's at most \
                 {HIDDEN_MAX}, found {hidden} and {inner}: use device = \"cpu\""
            )
        })
    }

    /// The mean of each text's rows, (texts, hidden).
    ///
    /// Errors: [`Error::Device`] if the device fails.
    pub fn pool(&self, pieces: &[Piece]) -> Result<Vec<f32>> {
        let hidden = self.config.hidden;
        let mut all = vec![0.0; pieces.len() * hidden];
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        for some in by_length(pieces, self.tokens_max) {
            let placed = self.place(&Batch::of(some.iter().map(|at| &pieces[*at])))?;
            let rows = self.pass(&room, &placed)?.read(&*self.driver)?;
            for (at, row) in some.iter().zip(rows.chunks_exact(hidden)) {
                all[at * hidden..(at + 1) * hidden].copy_from_slice(row);
            }
        }
        Ok(all)
    }

    fn place(&self, batch: &Batch) -> Result<Placed> {
        let (driver, context) = (&*self.driver, self.config.context_max as u32);
        let places = batch.positions.iter().zip(&batch.kinds);
        let places: Vec<u32> = places.map(|(position, kind)| kind * context + position).collect();
        let heads = self.config.heads;
        let (offsets, width) = (&batch.offsets[..], self.heads.wide);
        let shape = GroupedShape { offsets, parents: &[], heads, shared: heads, width };
        Ok(Placed {
            tokens: Indices::of(driver, &batch.tokens)?,
            places: Indices::of(driver, &places)?,
            chosen: Indices::of_some(driver, &vec![None; batch.tokens()])?,
            paths: Paths::mutual(driver, &shape)?,
            offsets: Offsets::of(driver, offsets)?,
            texts: batch.texts(),
        })
    }

    /// The texts' pooled rows.
    fn pass(&self, room: &Room, placed: &Placed) -> Result<Buffer<f32>> {
        let (driver, weights, hidden) = (&*self.driver, &self.weights, self.config.hidden);
        let numbers = 0..placed.tokens.len() * hidden;
        let [stream, sum] = &room.streams;
        let (stream, sum) = (&stream.slice(numbers.clone())?, &sum.slice(numbers)?);
        let embed = Embed {
            hidden,
            items: &placed.tokens,
            positions: &placed.places,
            item_table: &weights.tokens,
            position_table: &weights.places,
            scale: 1.0,
            dropout: Dropout::NONE,
            out: sum,
        };
        driver.launch(&embed.launch()?)?;
        self.norm(room, sum, &weights.first_norm, stream)?;
        for layer in &weights.layers {
            self.mix(room, placed, layer, [stream, sum])?;
            self.go_on(room, placed, layer, [stream, sum])?;
        }
        let out = Buffer::new(driver, placed.texts * hidden)?;
        let (pooling, offsets) = (Pooling::Mean, &placed.offsets);
        driver.launch(&Pool { hidden, pooling, x: stream, offsets, out: &out }.launch()?)?;
        Ok(out)
    }

    /// stream = norm(stream + output(attention(qkv(stream)))).
    fn mix(
        &self,
        room: &Room,
        placed: &Placed,
        layer: &Layer,
        [stream, sum]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (driver, heads, rows) = (&*self.driver, self.config.heads, placed.tokens.len());
        let [qkv_site, output, ..] = &layer.sites;
        let queries = heads * self.heads.wide;
        let qkv = &room.qkv.slice(0..rows * 3 * queries)?;
        let mixed = &room.mixed.slice(0..rows * queries)?;
        let product = &self.product(room, &self.rounded(room, stream)?, qkv_site)?;
        let sums = qkv_site.sums(placed, product);
        driver.launch(&LoraLinear { sums, out: qkv }.launch()?)?;
        let statistics = &room.statistics.slice(0..rows * heads)?;
        let (paths, scale) = (&placed.paths, self.heads.scale());
        let call = GroupedAttention { paths, scale, qkv, kept: None, statistics, out: mixed };
        driver.launch(&call.launch()?)?;
        let product = &self.product(room, mixed, output)?;
        let sums = output.sums(placed, product);
        driver.launch(&LoraResidual { sums, residual: stream, from: None, out: sum }.launch()?)?;
        self.norm(room, sum, &layer.attention_norm, stream)
    }

    /// stream = norm(stream + narrow(gelu(widen(stream)))).
    fn go_on(
        &self,
        room: &Room,
        placed: &Placed,
        layer: &Layer,
        [stream, sum]: [&Buffer<f32>; 2],
    ) -> Result<()> {
        let (driver, [.., widen, narrow]) = (&*self.driver, &layer.sites);
        let active = &room.active.slice(0..placed.tokens.len() * self.config.inner)?;
        let product = &self.product(room, &self.rounded(room, stream)?, widen)?;
        let sums = widen.sums(placed, product);
        driver.launch(&LoraGelu { sums, out: active }.launch()?)?;
        let product = &self.product(room, active, narrow)?;
        let sums = narrow.sums(placed, product);
        driver.launch(&LoraResidual { sums, residual: stream, from: None, out: sum }.launch()?)?;
        self.norm(room, sum, &layer.last_norm, stream)
    }

    /// Rows as products read them.
    fn rounded(&self, room: &Room, x: &Buffer<f32>) -> Result<Buffer<Bf16>> {
        let rounded = room.rounded.slice(0..x.len())?;
        self.driver.launch(&Round { x, rounded: &rounded }.launch()?)?;
        Ok(rounded)
    }

    /// Rows times a weight.
    fn product(&self, room: &Room, x: &Buffer<Bf16>, with: &Multiplied) -> Result<Buffer<Bf16>> {
        let (inputs, outputs) = (with.weight.inputs(), with.weight.outputs());
        let rows = x.len() / inputs;
        let sums = room.sums.slice(0..rows * outputs)?;
        let product = Product::new([rows, outputs, inputs], x, with.weight.weight()?, &sums)?;
        self.driver.product(&product)?;
        Ok(sums)
    }

    fn norm(
        &self,
        room: &Room,
        x: &Buffer<f32>,
        affine: &Buffer<f32>,
        out: &Buffer<f32>,
    ) -> Result<()> {
        let BertConfig { hidden, epsilon, .. } = self.config;
        let shape = NormShape { rows: x.len() / hidden, hidden };
        let statistics = &room.statistics.slice(0..2 * shape.rows)?;
        self.driver.launch(&LayerNorm { shape, x, affine, epsilon, out, statistics }.launch()?)
    }
}

impl Multiplied {
    /// Site `at` of a layer, in the device's heads.
    fn of(driver: &dyn Driver, heads: Heads, at: usize, site: &Site) -> Result<Self> {
        let mut weight = Vec::new();
        site.rows(0..site.weight.outputs(), &mut weight);
        let (mut inputs, mut bias) = (site.weight.inputs(), site.bias.clone());
        match at {
            0 => (weight, bias) = (heads.rows(&weight, inputs), heads.rows(&bias, 1)),
            1 => (weight, inputs) = (heads.columns(&weight), inputs / heads.width * heads.wide),
            _ => {}
        }
        let weight = Adapters::of(driver, &weight, [weight.len() / inputs, inputs], &[])?;
        Ok(Self { weight, bias: Buffer::of(driver, &bias)? })
    }

    fn sums<'a>(&'a self, placed: &'a Placed, sums: &'a Buffer<Bf16>) -> LoraSums<'a> {
        let (rows, chosen, bias) = (placed.tokens.len(), &placed.chosen, Some(&self.bias));
        LoraSums { rows, sums, adapters: &self.weight, chosen, bias, row_scales: None }
    }
}

impl Layer {
    fn of(driver: &dyn Driver, layer: &bert::Layer, heads: Heads) -> Result<Self> {
        let [a, b, c, d] = &layer.sites;
        let site = |at, site| Multiplied::of(driver, heads, at, site);
        Ok(Self {
            sites: [site(0, a)?, site(1, b)?, site(2, c)?, site(3, d)?],
            attention_norm: Buffer::of(driver, &layer.attention_norm)?,
            last_norm: Buffer::of(driver, &layer.last_norm)?,
        })
    }
}

impl Weights {
    fn of(driver: &dyn Driver, bert: &Bert, heads: Heads) -> Result<Self> {
        let [tokens, positions, kinds] = &bert.tables;
        let hidden = bert.config.hidden;
        let mut places = Vec::with_capacity(bert.config.kinds * positions.len());
        for kind in kinds.chunks_exact(hidden) {
            for position in positions.chunks_exact(hidden) {
                places.extend(position.iter().zip(kind).map(|(position, kind)| position + kind));
            }
        }
        let layers = bert.layers.iter().map(|layer| Layer::of(driver, layer, heads));
        Ok(Self {
            tokens: Buffer::of(driver, tokens)?,
            places: Buffer::of(driver, &places)?,
            first_norm: Buffer::of(driver, &bert.first_norm)?,
            layers: layers.collect::<Result<_>>()?,
        })
    }
}

impl Room {
    fn new(driver: &dyn Driver, config: &BertConfig, heads: Heads, tokens: usize) -> Result<Self> {
        let queries = config.heads * heads.wide;
        let widest = (3 * queries).max(config.inner).max(config.hidden);
        let stream = || Buffer::new(driver, tokens * config.hidden);
        let narrow = |wide: usize| Buffer::new(driver, tokens * wide);
        Ok(Self {
            streams: [stream()?, stream()?],
            rounded: narrow(config.hidden)?,
            sums: narrow(widest)?,
            qkv: narrow(3 * queries)?,
            mixed: narrow(queries)?,
            active: narrow(config.inner)?,
            statistics: Buffer::new(driver, tokens * config.heads.max(2))?,
        })
    }
}
