//! A BERT whose weights lie on a device, where texts become their pooled rows: the same steps as on
//! the processor, as launches.
//!
//! What is multiplied is bf16; sums, norms and the stream between layers are f32. A text's row has
//! the same bits whatever texts are encoded with it.

mod backward;
mod learner;
mod pass;
mod room;
mod sections;

pub(super) use backward::LearningRoom;
pub use learner::ResidentLearner;
pub(super) use room::{Room, Size};

use super::BertConfig;
use super::batch::{Batch, Piece, by_length};
use super::bert::{self, Bert};
use crate::device::cuda::kernels::{Indices, Offsets, Paths};
use crate::device::cuda::{Buffer, Driver, SharedDriver};
use crate::device::shape::GroupedShape;
use crate::error::{Error, Result};
use crate::model::resident::{Given, Heads, Laid, Multiplied};
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
    /// Rows of tokens, positions and kinds.
    tables: [Buffer<f32>; 3],
    first_norm: Buffer<f32>,
    layers: Vec<Layer>,
    /// What every row chooses of the changes beside the weights, if there are any.
    change: Option<u32>,
}

struct Layer {
    /// In the order of [`super::layout::SITES`].
    sites: [Multiplied; 4],
    attention_norm: Buffer<f32>,
    last_norm: Buffer<f32>,
}

/// What launches need to know of a batch.
struct Placed {
    tokens: Indices,
    positions: Indices,
    kinds: Indices,
    /// Each token's adapter.
    chosen: Indices,
    paths: Paths,
    offsets: Offsets,
    texts: usize,
}

impl Resident {
    /// Copies a BERT, and what is learned beside its weights, to a device, with room for batches of
    /// so many tokens, or of one text.
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
        let size = weights.size(&config, heads, tokens_max);
        let room = Mutex::new(Room::passing(&*driver, size)?);
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
            let batch = Batch::of(some.iter().map(|at| &pieces[*at]));
            let placed = self.place(&batch, Paths::mutual(&*self.driver, &self.shape(&batch))?)?;
            let rows = self.forward(&room, &placed)?.read(&*self.driver)?;
            for (at, row) in some.iter().zip(rows.chunks_exact(hidden)) {
                all[at * hidden..(at + 1) * hidden].copy_from_slice(row);
            }
        }
        Ok(all)
    }

    /// Dimensions of a batch's attention.
    fn shape<'a>(&self, batch: &'a Batch) -> GroupedShape<'a> {
        let (heads, width) = (self.config.heads, self.heads.wide);
        GroupedShape { offsets: &batch.offsets, parents: &[], heads, shared: heads, width }
    }

    fn place(&self, batch: &Batch, paths: Paths) -> Result<Placed> {
        let driver = &*self.driver;
        Ok(Placed {
            tokens: Indices::of(driver, &batch.tokens)?,
            positions: Indices::of(driver, &batch.positions)?,
            kinds: Indices::of(driver, &batch.kinds)?,
            chosen: Indices::of_some(driver, &vec![self.weights.change; batch.tokens()])?,
            paths,
            offsets: Offsets::of(driver, &batch.offsets)?,
            texts: batch.texts(),
        })
    }

    /// Dimensions of what batches of so many tokens are computed in.
    fn size(&self, tokens: usize) -> Size<'_> {
        self.weights.size(&self.config, self.heads, tokens)
    }
}

impl Layer {
    fn of(driver: &dyn Driver, layer: &bert::Layer, heads: Heads) -> Result<Self> {
        let site = |site: usize| {
            let from = &layer.sites[site];
            let given = Given {
                size: [from.weight.outputs(), from.weight.inputs()],
                read: &|row, to| {
                    from.weight.row(row, to);
                    Ok(())
                },
                bias: &from.bias,
                changes: &from.changes,
                fp8: false,
            };
            Multiplied::of(driver, Laid { heads, site }, &given)
        };
        Ok(Self {
            sites: [site(0)?, site(1)?, site(2)?, site(3)?],
            attention_norm: Buffer::of(driver, &layer.attention_norm)?,
            last_norm: Buffer::of(driver, &layer.last_norm)?,
        })
    }
}

impl Weights {
    fn of(driver: &dyn Driver, bert: &Bert, heads: Heads) -> Result<Self> {
        let [tokens, positions, kinds] = &bert.tables;
        let table = |rows: &[f32]| Buffer::of(driver, rows);
        let layers = bert.layers.iter().map(|layer| Layer::of(driver, layer, heads));
        let mut sites = bert.layers.iter().flat_map(|layer| &layer.sites);
        Ok(Self {
            tables: [table(tokens)?, table(positions)?, table(kinds)?],
            first_norm: Buffer::of(driver, &bert.first_norm)?,
            layers: layers.collect::<Result<_>>()?,
            change: sites.any(|site| !site.changes.is_empty()).then_some(0),
        })
    }

    /// How large places are for batches of so many tokens.
    fn size<'a>(&self, config: &'a BertConfig, heads: Heads, tokens: usize) -> Size<'a> {
        let (mut columns, mut ranks) = ([0; 4], 0);
        for layer in &self.layers {
            for (most, Multiplied { adapters, .. }) in columns.iter_mut().zip(&layer.sites) {
                *most = adapters.columns().max(*most);
                ranks = ranks.max(adapters.columns() - adapters.outputs());
            }
        }
        Size { config, heads, columns, ranks, tokens }
    }
}
