//! Who reads: a decoder on the processor, or on a device.

use crate::device::Backend;
use crate::error::Result;
use crate::model::decoder::{Ask, Decoder, Prompt, Resident, Table};

/// A decoder that reads prompts on, wherever it computes.
pub trait Reads {
    /// Whose logits are asked for.
    type Table;

    /// How many tokens there are.
    fn vocabulary(&self) -> usize;

    /// Tokens of the longest prompt.
    fn tokens_max(&self) -> usize;

    /// What keeps a prompt from being read, if anything does.
    fn refusal(&self, prompt: &Prompt) -> Option<String>;

    /// Has the logits of some tokens asked for, or of the whole vocabulary.
    ///
    /// Errors: [`crate::error::Error::Model`] for a token that is not there, here or when they are
    /// asked for.
    fn table(&self, tokens: Option<&[u32]>) -> Result<Self::Table>;

    /// The last-position logits of prompts, (prompts, tokens of the table).
    ///
    /// Errors: those of [`Decoder::logits_on`] or [`Resident::logits_on`].
    fn logits_on(&self, asks: &mut [Ask<'_>], table: &Self::Table) -> Result<Vec<f32>>;
}

/// A decoder on the processor.
pub struct OnCpu<'a> {
    /// Its weights.
    pub decoder: &'a Decoder,
    /// Its kernels.
    pub device: &'a dyn Backend,
    /// Threads that share the prompts.
    pub threads: usize,
}

impl Reads for OnCpu<'_> {
    /// None for the whole vocabulary, which the decoder has.
    type Table = Option<Table>;

    fn vocabulary(&self) -> usize {
        self.decoder.config().vocabulary
    }

    fn tokens_max(&self) -> usize {
        self.decoder.config().context_max
    }

    fn refusal(&self, prompt: &Prompt) -> Option<String> {
        self.decoder.refusal(prompt)
    }

    fn table(&self, tokens: Option<&[u32]>) -> Result<Option<Table>> {
        tokens.map(|tokens| self.decoder.labels(tokens)).transpose()
    }

    fn logits_on(&self, asks: &mut [Ask<'_>], table: &Option<Table>) -> Result<Vec<f32>> {
        let table = table.as_ref().unwrap_or_else(|| self.decoder.head());
        self.decoder.logits_on(self.device, asks, table, self.threads)
    }
}

/// A device keeps what it has read if it has memory for that: see [`Resident::keeping`].
impl Reads for Resident {
    type Table = Vec<u32>;

    fn vocabulary(&self) -> usize {
        self.config().vocabulary
    }

    fn tokens_max(&self) -> usize {
        self.tokens_max().min(self.config().context_max)
    }

    fn refusal(&self, prompt: &Prompt) -> Option<String> {
        self.refusal(prompt)
    }

    fn table(&self, tokens: Option<&[u32]>) -> Result<Vec<u32>> {
        let all = || (0..self.config().vocabulary as u32).collect();
        Ok(tokens.map_or_else(all, <[u32]>::to_vec))
    }

    fn logits_on(&self, asks: &mut [Ask<'_>], table: &Vec<u32>) -> Result<Vec<f32>> {
        self.logits_on(asks, table)
    }
}
