//! A retriever whose weights lie on a device, where histories become users' vectors in f32, and
//! where it learns. A user's vector has the same bits whoever is encoded with them.

mod backward;
mod forward;
mod learner;
mod loss;
mod memory;
mod pass;
mod room;
mod sections;

pub use learner::{Learning, ResidentLearner};
pub use loss::{LossRule, rows_at_once};

use super::layout::BlockLayout;
use super::{Retriever, RetrieverConfig, Tokens};
use crate::device::cuda::kernels::{SAMPLED_WIDTH_MAX, SEARCHED_WIDTH_MAX};
use crate::device::cuda::{Bf16, Buffer, Driver, SharedDriver};
use crate::error::{Error, Result};
use crate::model::resident::{Heads, Laid};
use crate::types::ItemId;
use pass::PassRoom;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows that kernels read are as wide as a multiple of this.
const EIGHT: usize = 8;
/// Numbers of a vector that is searched with, and learned by losses over a few items.
const HIDDEN_MAX: usize =
    if SEARCHED_WIDTH_MAX < SAMPLED_WIDTH_MAX { SEARCHED_WIDTH_MAX } else { SAMPLED_WIDTH_MAX };

/// A retriever on a device.
pub struct Resident {
    driver: SharedDriver,
    config: RetrieverConfig,
    heads: Heads,
    weights: Weights,
    /// Tokens of a batch.
    tokens_max: usize,
    /// What a pass computes in: one at a time.
    room: Mutex<PassRoom>,
}

/// How large rooms are.
#[derive(Clone, Copy)]
struct Size<'a> {
    config: &'a RetrieverConfig,
    heads: Heads,
    tokens: usize,
}

impl Size<'_> {
    /// Numbers of a token's queries.
    fn queries(&self) -> usize {
        self.config.heads * self.heads.wide
    }

    /// So many columns for each token.
    fn wide(&self, driver: &dyn Driver, columns: usize) -> Result<Buffer<f32>> {
        Buffer::new(driver, self.tokens * columns)
    }

    /// The same in bf16.
    fn narrow(&self, driver: &dyn Driver, columns: usize) -> Result<Buffer<Bf16>> {
        Buffer::new(driver, self.tokens * columns)
    }
}

/// What stays on the device.
struct Weights {
    /// Rows of items and of positions.
    tables: [Buffer<f32>; 2],
    blocks: Vec<Block>,
    last_norm: Buffer<f32>,
}

struct Block {
    /// Queries, keys and values; the output; the first and the second forward product.
    sites: [Site; 4],
    /// Of attention, and of the forward products.
    norms: [Buffer<f32>; 2],
}

/// A weight (outputs, inputs) and its bias, in the device's heads.
struct Site {
    weight: Buffer<f32>,
    bias: Buffer<f32>,
}

impl Resident {
    /// Copies a retriever to a device, with room for batches of so many tokens, or of one history.
    ///
    /// Errors: [`Error::Device`] for what [`Resident::refusal`] says, and if the device has too
    /// little memory or fails.
    pub fn of(driver: SharedDriver, retriever: &Retriever, tokens_max: usize) -> Result<Self> {
        let heads = retriever.config.device_heads()?;
        let weights = Weights::of(&*driver, retriever, heads)?;
        Self::with(driver, &retriever.config, weights, tokens_max)
    }

    /// Of weights that are there.
    fn with(
        driver: SharedDriver,
        config: &RetrieverConfig,
        weights: Weights,
        tokens_max: usize,
    ) -> Result<Self> {
        let (config, heads) = (config.clone(), config.device_heads()?);
        let tokens_max = tokens_max.max(config.length_max);
        let size = Size { config: &config, heads, tokens: tokens_max };
        let room = Mutex::new(PassRoom::new(&*driver, size)?);
        Ok(Self { driver, config, heads, weights, tokens_max, room })
    }

    /// The items' vectors, (items, hidden).
    ///
    /// Errors: none but of a mistake here.
    pub fn item_embeddings(&self) -> Result<Buffer<f32>> {
        self.weights.tables[0].slice(0..self.config.items * self.config.hidden)
    }

    /// What keeps a retriever of these dimensions from being copied to a device, if anything does.
    pub fn refusal(config: &RetrieverConfig) -> Option<String> {
        let RetrieverConfig { hidden, heads, .. } = *config;
        if let Err(error) = Heads::new(hidden / heads.max(1)) {
            return Some(error.to_string());
        }
        (!hidden.is_multiple_of(EIGHT) || hidden > HIDDEN_MAX).then(|| {
            format!(
                "expected a retriever whose width is a multiple of {EIGHT}, at most {HIDDEN_MAX}, \
                 found {hidden}: use device = \"cpu\""
            )
        })
    }

    /// As [`Retriever::encode`].
    ///
    /// Errors: those of [`Retriever::encode`]; [`Error::Device`] if the device fails.
    pub fn encode(&self, histories: &[&[ItemId]]) -> Result<Vec<f32>> {
        self.config.check_histories(histories)?;
        let (hidden, length_max) = (self.config.hidden, self.config.length_max);
        let mut all = vec![0.0; histories.len() * hidden];
        let mut rest = all.chunks_exact_mut(hidden).zip(histories);
        let mut rest = rest.by_ref().filter(|(_, history)| !history.is_empty()).peekable();
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        while rest.peek().is_some() {
            let (mut tokens, mut users) = (Tokens::default(), Vec::new());
            let fits = |tokens: &Tokens, history: &[ItemId]| {
                tokens.len() + history.len().min(length_max) <= self.tokens_max
            };
            while let Some((to, history)) = rest.next_if(|(_, history)| fits(&tokens, history)) {
                tokens.push(history, length_max);
                users.push(to);
            }
            let rows = self.vectors(&room, &tokens)?;
            users.iter_mut().zip(rows.chunks(hidden)).for_each(|(to, row)| to.copy_from_slice(row));
        }
        Ok(all)
    }

    /// Dimensions of what batches are computed in.
    fn size(&self) -> Size<'_> {
        Size { config: &self.config, heads: self.heads, tokens: self.tokens_max }
    }
}

impl Weights {
    fn of(driver: &dyn Driver, from: &Retriever, heads: Heads) -> Result<Self> {
        let part = |at: &Range<usize>| Buffer::of(driver, &from.parameters[at.clone()]);
        let layout = &from.layout;
        let blocks = layout.blocks.iter().map(|block| Block::of(driver, from, block, heads));
        Ok(Self {
            tables: [part(&layout.items)?, part(&layout.positions)?],
            blocks: blocks.collect::<Result<_>>()?,
            last_norm: part(&layout.last_norm)?,
        })
    }
}

impl Block {
    fn of(driver: &dyn Driver, from: &Retriever, at: &BlockLayout, heads: Heads) -> Result<Self> {
        let hidden = from.config.hidden;
        let site = |site: usize| {
            let (laid, [weight, bias]) = (Laid { heads, site }, at.weight_and_bias(site, hidden));
            let [weight, bias] = [weight, bias].map(|at| from.parameters[at].to_vec());
            let inputs = laid.inputs(vec![0.0; hidden]).len();
            Ok::<_, Error>(Site {
                weight: Buffer::of(driver, &laid.outputs(laid.inputs(weight), inputs))?,
                bias: Buffer::of(driver, &laid.outputs(bias, 1))?,
            })
        };
        let norm = |at: &Range<usize>| Buffer::of(driver, &from.parameters[at.clone()]);
        Ok(Self {
            sites: [site(0)?, site(1)?, site(2)?, site(3)?],
            norms: [norm(&at.attention_norm)?, norm(&at.forward_norm)?],
        })
    }
}
