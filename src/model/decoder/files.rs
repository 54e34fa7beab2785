//! A decoder in its files: checked and not loaded. What is asked for is read where it lies, so that
//! a device's copy needs no packed one beside it.

use super::layout;
use super::source::{Fill, Named};
use super::{Decoder, DecoderConfig, Prompt};
use crate::device::Precision;
use crate::error::Result;
use crate::model::adapter::Adapter;
use crate::model::tensors::Tensors;
use std::path::Path;

/// A decoder's files, and the adapters that prompts may choose.
#[derive(Debug)]
pub struct DecoderFiles {
    config: DecoderConfig,
    tensors: Tensors,
    /// Of each token that follows the files' last one, the tokens that say what it means.
    meanings: Vec<Vec<u32>>,
    adapters: Vec<Adapter>,
    /// Unless it is by the files.
    precision: Option<Precision>,
}

impl DecoderFiles {
    /// Opens a folder in Hugging Face layout: `config.json` and the weights.
    ///
    /// Errors: [`crate::error::Error::Io`] for what cannot be opened,
    /// [`crate::error::Error::Model`] for what is not implemented, missing, extra or mis-shaped.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_extended(folder, Vec::new())
    }

    /// As [`DecoderFiles::open`], with more tokens: the rows of each, in the embeddings and in the
    /// logits' matrix, are the means of those of the tokens that say what it means, or zeros.
    ///
    /// Errors: those of [`DecoderFiles::open`].
    pub fn open_extended(folder: &Path, meanings: Vec<Vec<u32>>) -> Result<Self> {
        let mut files = Self::of(DecoderConfig::open(folder)?, Tensors::open(folder)?)?;
        files.config.vocabulary += meanings.len();
        files.meanings = meanings;
        Ok(files)
    }

    /// As [`DecoderFiles::open`], with the adapter in PEFT's folder if there is one, and the number
    /// by which prompts choose it. Tokens that the adapter adds have its rows; in the logits'
    /// matrix of a model that is not tied they have rows of zeros, since the layout has no place
    /// for them.
    ///
    /// Errors: those of [`DecoderFiles::open`] and [`Adapter::open`].
    pub fn open_adapted(folder: &Path, adapter: Option<&Path>) -> Result<(Self, Option<u32>)> {
        let Some(adapter) = adapter else { return Ok((Self::open(folder)?, None)) };
        let mut config = DecoderConfig::open(folder)?;
        let before = config.vocabulary;
        let adapter = Adapter::open_growing(adapter, &mut config)?;
        let meanings = vec![Vec::new(); config.vocabulary - before];
        let mut files = Self::open_extended(folder, meanings)?;
        let number = files.attach(adapter);
        Ok((files, Some(number)))
    }

    /// A model's tensors.
    ///
    /// Errors: see [`Tensors::check`].
    pub fn of(config: DecoderConfig, tensors: Tensors) -> Result<Self> {
        tensors.check(&layout::tensors(&config), |name| layout::tolerated(&config, name))?;
        let (meanings, adapters) = (Vec::new(), Vec::new());
        Ok(Self { config, tensors, meanings, adapters, precision: None })
    }

    /// Adds an adapter that was read for this configuration, by the number that is returned.
    pub fn attach(&mut self, adapter: Adapter) -> u32 {
        self.adapters.push(adapter);
        self.adapters.len() as u32 - 1
    }

    /// The dimensions.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// What keeps a prompt from being scored, if anything does.
    pub fn refusal(&self, prompt: &Prompt) -> Option<String> {
        self.config.refusal(prompt, self.adapters.len() as u32)
    }

    /// The same, to be kept in a precision; by none, a file in f32 is kept in f32 and others in
    /// bf16.
    pub fn kept_in(self, precision: Option<Precision>) -> Self {
        Self { precision, ..self }
    }

    fn precision(&self) -> Precision {
        let kept = if self.tensors.all_f32() { Precision::F32 } else { Precision::Bf16 };
        self.precision.unwrap_or(kept)
    }

    /// The decoder, packed.
    ///
    /// Errors: [`crate::error::Error::Model`] for weights that are not finite.
    pub fn load(&self) -> Result<Decoder> {
        let (config, precision) = (self.config.clone(), self.precision());
        let fill = |name: &str, row: usize, to: &mut [f32]| self.row(name, row, to);
        let mut decoder = Decoder::fill(config, precision, &fill)?;
        for adapter in &self.adapters {
            decoder.attach(adapter);
        }
        Ok(decoder)
    }

    /// Its weights, which `fill` writes by [`DecoderFiles::row`].
    pub(super) fn named<'a>(&'a self, fill: &'a Fill<'a>) -> Named<'a> {
        let precision = self.precision();
        Named { config: &self.config, fill, precision, adapters: &self.adapters }
    }

    /// Writes a row of a tensor.
    ///
    /// Errors: [`crate::error::Error::Model`] when it is not finite.
    pub(super) fn row(&self, name: &str, row: usize, to: &mut [f32]) -> Result<()> {
        let before = self.config.vocabulary - self.meanings.len();
        let table = name == layout::EMBEDDINGS || name == layout::HEAD;
        match row.checked_sub(before).filter(|_| table) {
            None => self.tensors.row(name, row, to),
            Some(added) => self.mean_row(name, &self.meanings[added], to),
        }
    }

    /// The mean of some rows of a tensor; zeros of none.
    fn mean_row(&self, name: &str, rows: &[u32], to: &mut [f32]) -> Result<()> {
        let mut row = vec![0.0; to.len()];
        to.fill(0.0);
        for at in rows {
            self.tensors.row(name, *at as usize, &mut row)?;
            to.iter_mut().zip(&row).for_each(|(to, x)| *to += x / rows.len() as f32);
        }
        Ok(())
    }
}
