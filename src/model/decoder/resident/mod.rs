//! A decoder whose weights lie on a device, where a batch of prompts becomes logits.
//!
//! What is multiplied is bf16, or FP8 if the projections are kept in it; sums and the stream
//! between layers are f32, as on the processor with such weights. A prompt's logits have the same
//! bits whatever prompts are scored with it.
//!
//! Weights come from a decoder's files row by row, a matrix after the other: each page of a file is
//! read once, and the host holds a block of rows, not the model. What bounds that is the disk or,
//! where it gives more than some 2 GB/s of bf16, the one thread that checks and rounds rows; PCIe
//! would take ten times that.

mod backward;
mod drawn;
mod learner;
mod memory;
mod pass;
mod reading;
mod room;
mod sections;
mod shelf;

pub use drawn::Drawn;
pub use learner::ResidentLearner;
pub use memory::Memory;
pub(super) use memory::grown;
pub(super) use shelf::{PAGE, Page, Shelf};

use super::layout::SITES;
use super::source::{Place, Source};
use super::table::Rows as Replaced;
use super::{Batch, Decoder, DecoderConfig, DecoderFiles, Prompt, fitting, load};
pub use crate::device::cuda::SharedDriver;
use crate::device::cuda::kernels::{Paths, Rows, check_fp8};
use crate::device::cuda::{Bf16, Buffer, Driver};
use crate::device::{Precision, Queries};
use crate::error::{Error, Result};
pub use crate::model::resident::{Follow, Parameters};
use crate::model::resident::{Given, Heads, Laid, Multiplied, unpacked};
use pass::Placed;
use room::{Room, Size};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A decoder on a device.
pub struct Resident {
    driver: SharedDriver,
    config: DecoderConfig,
    heads: Heads,
    weights: Weights,
    /// How many adapters prompts may choose from.
    adapters: u32,
    /// Tokens of a batch.
    tokens_max: usize,
    /// What a pass computes in: one at a time.
    room: Mutex<Room>,
    /// Where what was read is kept, if it is.
    shelf: Option<Arc<Shelf>>,
}

/// What stays on the device.
struct Weights {
    embeddings: Buffer<Bf16>,
    /// Unless it is the embeddings.
    head: Option<Buffer<Bf16>>,
    own: OwnRows,
    layers: Vec<Layer>,
    last_norm: Buffer<f32>,
    /// (positions, wide).
    angles: Buffer<f32>,
}

struct Layer {
    attention_norm: Buffer<f32>,
    forward_norm: Buffer<f32>,
    /// In the order of [`SITES`].
    sites: [Multiplied; 4],
}

/// The rows of the embeddings that adapters replace, one after the other.
#[derive(Default)]
struct OwnRows {
    buffer: Option<Buffer<Bf16>>,
    /// By adapter and token.
    places: HashMap<(u32, u32), i32>,
}

impl OwnRows {
    fn of(driver: &dyn Driver, replaced: &[Option<Replaced>]) -> Result<Self> {
        let (mut places, mut numbers) = (HashMap::new(), Vec::new());
        for (adapter, rows) in (0..).zip(replaced) {
            let Some(rows) = rows else { continue };
            for token in &rows.places {
                places.insert((adapter, *token), places.len() as i32);
            }
            numbers.extend(unpacked(&rows.matrix).into_iter().map(Bf16::of));
        }
        let buffer = (!places.is_empty()).then(|| Buffer::of(driver, &numbers)).transpose()?;
        Ok(Self { buffer, places })
    }

    /// The row of a token for a prompt of an adapter: its own as −1, −2 ….
    fn row(&self, adapter: Option<u32>, token: u32) -> i32 {
        let own = adapter.and_then(|adapter| self.places.get(&(adapter, token)));
        own.map_or(token as i32, |place| -1 - place)
    }
}

impl Resident {
    /// Copies a decoder with its adapters to a device, with room for batches of so many tokens.
    ///
    /// Errors: [`Error::Device`] for dimensions that its kernels do not take, and if the device has
    /// too little memory or fails.
    pub fn of(driver: SharedDriver, decoder: &Decoder, tokens_max: usize) -> Result<Self> {
        Self::copied(driver, decoder, tokens_max)
    }

    /// As [`Resident::of`], of a decoder that is not loaded.
    ///
    /// Errors: those of [`Resident::of`]; [`Error::Model`] for weights that are not finite.
    pub fn read(driver: SharedDriver, files: &DecoderFiles, tokens_max: usize) -> Result<Self> {
        let fill = |name: &str, row: usize, to: &mut [f32]| files.row(name, row, to);
        Self::copied(driver, &files.named(&fill), tokens_max)
    }

    fn copied(driver: SharedDriver, from: &dyn Source, tokens_max: usize) -> Result<Self> {
        let config = from.config().clone();
        let heads = Heads::new(config.width)?;
        if from.precision() == Precision::Fp8 {
            check_fp8(&*driver, memory::size(&config, heads, SITES[0]))?; // before all is copied
        }
        let needed = Memory::of(from, heads, tokens_max)?;
        let refused = |error: Error| match error {
            Error::Device(why) => Error::Device(format!(
                "{why}; the decoder's weights need {} MiB, and batches of {tokens_max} tokens {}: \
                 fewer of them need less",
                needed.weights_bytes >> 20,
                needed.batch_bytes >> 20,
            )),
            other => other,
        };
        let replaced = from.rows();
        let weights = Weights::of(&*driver, from, &replaced, (heads, tokens_max));
        let weights = weights.map_err(refused)?;
        let size = weights.size(&config, heads, tokens_max);
        let room = Room::new(&*driver, size).map_err(refused)?;
        let (adapters, room) = (replaced.len() as u32, Mutex::new(room));
        Ok(Self { driver, config, heads, weights, adapters, tokens_max, room, shelf: None })
    }

    /// The dimensions.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Tokens of the longest prompt that there is room for.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// How many adapters prompts may choose from.
    pub fn adapters(&self) -> u32 {
        self.adapters
    }

    /// What keeps a prompt from being scored, if anything does.
    pub fn refusal(&self, prompt: &Prompt) -> Option<String> {
        let (length, most) = (prompt.tokens.len(), self.tokens_max);
        let long =
            || format!("expected at most {most} tokens, a batch on the device, found {length}");
        let refused = self.config.refusal(prompt, self.adapters);
        refused.or_else(|| (length > most).then(long))
    }

    /// The last-position logits of prompts, (prompts, tokens), of some tokens of the vocabulary, as
    /// [`Decoder::logits`].
    ///
    /// Errors: [`Error::Model`] for a prompt that [`Resident::refusal`] refuses, for a token that
    /// is not there, and for logits that are not finite; [`Error::Device`] if the device fails.
    pub fn logits(&self, prompts: &[Prompt], tokens: &[u32]) -> Result<Vec<f32>> {
        self.check(prompts.iter(), tokens)?;
        let mut left = prompts;
        let all = self.passes(tokens, &mut || self.next(&mut left))?;
        match all.iter().position(|logit| !logit.is_finite()) {
            None => Ok(all),
            Some(at) => Err(refused(at / tokens.len(), super::DAMAGED)),
        }
    }

    /// Refuses prompts and tokens that cannot be read.
    fn check<'a>(&self, prompts: impl Iterator<Item = &'a Prompt>, tokens: &[u32]) -> Result<()> {
        for (at, prompt) in prompts.enumerate() {
            if let Some(why) = self.refusal(prompt) {
                return Err(refused(at, &why));
            }
        }
        self.config.check_tokens(tokens)
    }

    /// The logits of batches, until there is no next one.
    fn passes(
        &self,
        tokens: &[u32],
        next: &mut dyn FnMut() -> Result<Option<Placed>>,
    ) -> Result<Vec<f32>> {
        let candidates = self.candidates(tokens)?;
        let mut all = Vec::new();
        let mut placed = next()?; // while the device computes what others asked for
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(batch) = placed {
            let logits = self.pass(&mut room, &batch, &candidates, tokens.len())?;
            placed = next()?; // while the device computes
            all.extend(logits.read(&*self.driver)?);
        }
        drop(candidates); // before others' batches, since freeing waits for the device
        Ok(all)
    }

    /// Takes a batch off the prompts, if any are left, and places it.
    fn next(&self, left: &mut &[Prompt]) -> Result<Option<Placed>> {
        let (some, after) = left.split_at(fitting(left, self.tokens_max).min(left.len()));
        *left = after;
        if some.is_empty() {
            return Ok(None);
        }
        let batch = Batch::of(some);
        let paths = |queries| Paths::of(&*self.driver, &self.shape(&batch), queries);
        self.place(&batch, [paths(Queries::All)?, paths(Queries::Last)?]).map(Some)
    }

    /// Dimensions of what batches of so many tokens are computed in.
    fn size(&self, tokens: usize) -> Size<'_> {
        self.weights.size(&self.config, self.heads, tokens)
    }

    /// For each adapter, and at last for none, the rows of some tokens in the logits' matrix.
    fn candidates(&self, tokens: &[u32]) -> Result<Rows> {
        let choices = (0..self.adapters).map(Some).chain([None]);
        let row = |adapter, token: &u32| match self.config.tied {
            true => self.weights.own.row(adapter, *token),
            false => *token as i32,
        };
        let rows: Vec<i32> =
            choices.flat_map(|a| tokens.iter().map(move |token| row(a, token))).collect();
        Rows::of(&*self.driver, &rows)
    }
}

/// What is wrong with a prompt.
fn refused(at: usize, why: &str) -> Error {
    Error::Model(format!("prompt {}: {why}", at + 1))
}

impl Weights {
    fn of(
        driver: &dyn Driver,
        from: &dyn Source,
        replaced: &[Option<Replaced>],
        (heads, tokens_max): (Heads, usize),
    ) -> Result<Self> {
        let config = from.config();
        let table = |place: Place| {
            let (size, read) = ([config.vocabulary, config.hidden], from.matrix(place));
            let table = Buffer::new(driver, size[0] * size[1])?;
            table.write_rows(driver, size, &mut |row, to| read(row, to)).map(|()| table)
        };
        let layer = |l: usize| {
            let [attention_norm, forward_norm] = from.norms(l)?;
            let site = |at: usize| {
                let given = Given {
                    size: load::size(config, SITES[at]),
                    read: &*from.matrix(Place::Site { layer: l, at }),
                    bias: &from.bias(l, at)?,
                    changes: &from.changes(l, at),
                    fp8: from.precision() == Precision::Fp8,
                };
                Multiplied::of(driver, Laid { heads, site: at }, &given)
            };
            Ok(Layer {
                attention_norm: Buffer::of(driver, &attention_norm)?,
                forward_norm: Buffer::of(driver, &forward_norm)?,
                sites: [site(0)?, site(1)?, site(2)?, site(3)?],
            })
        };
        let positions = config.context_max.min(tokens_max);
        Ok(Self {
            embeddings: table(Place::Embeddings)?,
            head: (!config.tied).then(|| table(Place::Head)).transpose()?,
            own: OwnRows::of(driver, replaced)?,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            last_norm: Buffer::of(driver, &from.last_norm()?)?,
            angles: Buffer::of(driver, &heads.angles(&config.rope, positions))?,
        })
    }

    /// How large places are for batches of so many tokens.
    fn size<'a>(&self, config: &'a DecoderConfig, heads: Heads, tokens: usize) -> Size<'a> {
        let (mut columns, mut ranks, mut fp8) = ([0; 4], 0, false);
        for layer in &self.layers {
            for (most, site) in columns.iter_mut().zip(&layer.sites) {
                let with = &site.adapters;
                fp8 |= with.is_fp8();
                *most = with.columns().max(*most);
                ranks = ranks.max(with.columns() - with.outputs());
            }
        }
        Size { config, heads, columns, ranks, tokens, fp8 }
    }
}
