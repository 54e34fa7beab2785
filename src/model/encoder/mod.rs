//! Text encoders: what people ask for and what items say, as vectors whose cosine tells how well
//! they go together.
//!
//! Two towers on a shared base. f reads a request and its context, g reads an item; each is the
//! base's pooled row through a linear head of its own, divided by its length. A text's vector has
//! the same bits whatever texts are encoded with it, and on however many threads.
//!
//! Source: Devlin et al., BERT (2018); Wang et al., MiniLM (2020); the towers as in CTRL-Rec (2025)
//! and Reimers and Gurevych, Sentence-BERT (2019).

mod backward;
mod base;
mod batch;
mod bert;
mod config;
mod files;
mod heads;
mod layout;
mod learner;
mod memory;
mod pass;
mod resident;
mod text;
pub mod words;

pub use backward::Tape;
pub use batch::{Batch, Piece};
pub use bert::Bert;
pub use config::BertConfig;
pub use heads::{Heads, Projected, Tower, dot};
pub use layout::Projection;
pub use learner::{Learner, Trained};
pub use pass::Activations;
pub use resident::ResidentLearner;

pub use super::resident::{Follow, Parameters};
pub use crate::device::cuda::SharedDriver;
use crate::device::{Cpu, Precision, Turns};
use crate::error::{Error, Result};
use base::Base;
use resident::Resident;
use std::sync::Arc;
use text::Texts;

const DAMAGED: &str = "its vector holds NaN or infinity: the weights are damaged";

const ON_PROCESSOR: &str =
    "an encoder whose base is a decoder computes on the processor alone: use device = \"cpu\"";

/// Two towers on a shared base, with the tokenizer that the base was trained with.
#[derive(Clone)]
pub struct Encoder {
    base: Base,
    heads: Heads,
    texts: Texts,
    /// As it was read.
    tokenizer_json: Vec<u8>,
    /// Of a decoder: the tokens that texts begin and end with.
    ends: [Option<u32>; 2],
    /// Where texts are read, unless on the processor.
    devices: Option<Arc<Turns<Arc<Resident>>>>,
}

impl Encoder {
    /// A new BERT with random weights in f32, for a tokenizer such as [`words::tokenizer`] makes.
    /// Without a width, vectors are as wide as the base.
    ///
    /// Errors: [`Error::Model`] for dimensions that cannot be, a tokenizer that cannot be read or
    /// has more tokens than the model, and a `tokens_max` that is too small or too large.
    pub fn random(
        config: BertConfig,
        tokenizer_json: &[u8],
        width: Option<usize>,
        tokens_max: usize,
        seed: u64,
    ) -> Result<Self> {
        let base = Base::Bert(Bert::random(config, seed)?);
        Self::new(base, tokenizer_json.to_vec(), [None; 2], (width, tokens_max), seed)
    }

    /// The same with its texts read on devices, in batches of so many tokens; on none of them on
    /// the processor, where heads stay.
    ///
    /// Errors: [`Error::Device`] for a decoder as the base, for dimensions that the kernels do not
    /// take, and if a device has too little memory or fails.
    pub fn on(mut self, drivers: &[SharedDriver], tokens_max: usize) -> Result<Self> {
        if drivers.is_empty() {
            return Ok(self);
        }
        if let Some(why) = self.device_refusal() {
            return Err(Error::Device(why));
        }
        if let Some(bert) = self.bert() {
            let on = |driver: &SharedDriver| {
                Resident::of(driver.clone(), bert, tokens_max).map(Arc::new)
            };
            let copies = drivers.iter().map(on).collect::<Result<Vec<_>>>()?;
            self.devices = Some(Arc::new(Turns::new(copies)));
        }
        Ok(self)
    }

    /// Whether its texts are read on a device.
    pub fn is_on_device(&self) -> bool {
        self.devices.is_some()
    }

    /// What keeps its texts from being read on a device, if anything does.
    pub fn device_refusal(&self) -> Option<String> {
        match self.bert() {
            Some(bert) => Resident::refusal(bert.config()),
            None => Some(ON_PROCESSOR.to_owned()),
        }
    }

    /// Width of the vectors.
    pub fn width(&self) -> usize {
        self.heads.shape()[0]
    }

    /// Tokens of the longest text; more are cut off.
    pub fn tokens_max(&self) -> usize {
        self.texts.tokens_max()
    }

    /// In what the base's weights are kept.
    pub fn precision(&self) -> Precision {
        self.base.precision()
    }

    /// The two towers' heads.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The logit of a request and an item whose vectors have this cosine: how likely the item is to
    /// be what was asked for.
    pub fn logit(&self, cosine: f32) -> f32 {
        self.heads.logit(cosine)
    }

    /// f of requests and their contexts, (requests, width), each of length 1. Without a context the
    /// request is all there is.
    ///
    /// Errors: [`Error::Model`] when the tokenizer fails, and for a vector that is not finite.
    pub fn requests(&self, pairs: &[(String, String)], threads: usize) -> Result<Vec<f32>> {
        let pieces = self.texts.requests(pairs, threads)?;
        self.vectors(Tower::Request, &self.pool(&pieces, threads)?)
    }

    /// g of items, (items, width), each of length 1.
    ///
    /// Errors: those of [`Encoder::requests`].
    pub fn items(&self, items: &[String], threads: usize) -> Result<Vec<f32>> {
        let pieces = self.texts.items(items, threads)?;
        self.vectors(Tower::Item, &self.pool(&pieces, threads)?)
    }

    /// The base, if it is a BERT.
    pub fn bert(&self) -> Option<&Bert> {
        match &self.base {
            Base::Bert(bert) => Some(bert),
            Base::Decoder(_) | Base::Learning(_) => None,
        }
    }

    /// Requests and their contexts as tokens.
    ///
    /// Errors: [`Error::Model`] when the tokenizer fails.
    pub fn request_pieces(&self, pairs: &[(String, String)], threads: usize) -> Result<Vec<Piece>> {
        self.texts.requests(pairs, threads)
    }

    /// Items as tokens.
    ///
    /// Errors: [`Error::Model`] when the tokenizer fails.
    pub fn item_pieces(&self, items: &[String], threads: usize) -> Result<Vec<Piece>> {
        self.texts.items(items, threads)
    }

    fn pool(&self, pieces: &[Piece], threads: usize) -> Result<Vec<f32>> {
        match &self.devices {
            Some(devices) => devices.ask(|one| one.pool(pieces)),
            None => Ok(self.base.pool(pieces, threads)),
        }
    }

    fn vectors(&self, tower: Tower, pooled: &[f32]) -> Result<Vec<f32>> {
        let mut projected = Projected::default();
        self.heads.project(&Cpu, tower, pooled, &mut projected);
        match projected.units.iter().position(|x| !x.is_finite()) {
            None => Ok(projected.units),
            Some(at) => {
                Err(Error::Model(format!("text {}: {DAMAGED}", at / self.heads.shape()[0] + 1)))
            }
        }
    }
}
