//! A decoder that reads prompts, wherever it computes.

use crate::device::Cpu;
use crate::error::Result;
use crate::model::decoder::{Decoder, Prompt, Resident, SharedDriver, Table};

/// A decoder and the labels whose logits are asked for.
pub struct Reader {
    labels: usize,
    place: Place,
}

enum Place {
    Cpu(Box<Decoder>, Table),
    Device(Box<Resident>, Vec<u32>),
}

impl Reader {
    /// On the processor, or on a device with room for batches of so many tokens.
    ///
    /// Errors: a label that is not in the vocabulary; a device that does not take the decoder.
    pub fn new(
        decoder: Decoder,
        labels: &[u32],
        device: Option<(SharedDriver, usize)>,
    ) -> Result<Reader> {
        let table = decoder.labels(labels)?;
        let place = match device {
            None => Place::Cpu(Box::new(decoder), table),
            Some((driver, tokens_max)) => {
                let resident = Resident::of(driver, &decoder, tokens_max)?;
                Place::Device(Box::new(resident), labels.to_vec())
            }
        };
        Ok(Reader { labels: labels.len(), place })
    }

    /// How many logits a prompt has.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// What keeps a prompt from being read, if anything does.
    pub fn refusal(&self, prompt: &Prompt) -> Option<String> {
        match &self.place {
            Place::Cpu(decoder, _) => decoder.refusal(prompt),
            Place::Device(decoder, _) => decoder.refusal(prompt),
        }
    }

    /// The labels' logits after each prompt, (prompts, labels), by the calling thread or the
    /// device.
    ///
    /// Errors: a prompt that is refused; logits that are not finite; a device that fails.
    pub fn logits(&self, prompts: &[Prompt]) -> Result<Vec<f32>> {
        match &self.place {
            Place::Cpu(decoder, table) => decoder.logits(&Cpu, prompts, table, 1),
            Place::Device(decoder, labels) => decoder.logits(prompts, labels),
        }
    }
}
