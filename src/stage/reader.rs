//! A decoder that reads prompts, wherever it computes.

use crate::device::{Cpu, Turns};
use crate::error::Result;
use crate::model::decoder::{Decoder, DecoderFiles, Prompt, Resident, SharedDriver, Table};

/// A decoder and the labels whose logits are asked for.
pub struct Reader {
    labels: Vec<u32>,
    place: Place,
}

enum Place {
    Cpu(Box<Decoder>, Table),
    /// A copy on each of several devices of a kind.
    Devices(Turns<Resident>),
}

impl Reader {
    /// On devices, with room for batches of so many tokens; of none on the processor, which alone
    /// has the decoder loaded.
    ///
    /// Errors: a label that is not in the vocabulary; weights that are not finite; a device that
    /// does not take the decoder.
    pub fn open(
        files: &DecoderFiles,
        labels: &[u32],
        devices: &[SharedDriver],
        tokens_max: usize,
    ) -> Result<Reader> {
        files.config().check_tokens(labels)?;
        if devices.is_empty() {
            return Self::here(files.load()?, labels);
        }
        let resident = devices.iter().map(|d| Resident::read(d.clone(), files, tokens_max));
        Ok(Self::there(resident.collect::<Result<_>>()?, labels))
    }

    /// On the processor.
    ///
    /// Errors: a label that is not in the vocabulary.
    pub fn here(decoder: Decoder, labels: &[u32]) -> Result<Reader> {
        let (table, labels) = (decoder.labels(labels)?, labels.to_vec());
        Ok(Reader { labels, place: Place::Cpu(Box::new(decoder), table) })
    }

    /// On devices, at least one, each with a copy of the same decoder.
    pub fn there(resident: Vec<Resident>, labels: &[u32]) -> Reader {
        Reader { labels: labels.to_vec(), place: Place::Devices(Turns::new(resident)) }
    }

    /// How many logits a prompt has.
    pub fn labels(&self) -> usize {
        self.labels.len()
    }

    /// What keeps a prompt from being read, if anything does.
    pub fn refusal(&self, prompt: &Prompt) -> Option<String> {
        match &self.place {
            Place::Cpu(decoder, _) => decoder.refusal(prompt),
            Place::Devices(resident) => resident.any().refusal(prompt),
        }
    }

    /// How many devices read prompts.
    pub fn devices(&self) -> usize {
        match &self.place {
            Place::Cpu(..) => 0,
            Place::Devices(resident) => resident.count(),
        }
    }

    /// The labels' logits after each prompt, (prompts, labels), by the calling thread or a device.
    ///
    /// Errors: a prompt that is refused; logits that are not finite; a device that fails.
    pub fn logits(&self, prompts: &[Prompt]) -> Result<Vec<f32>> {
        match &self.place {
            Place::Cpu(decoder, table) => decoder.logits(&Cpu, prompts, table, 1),
            Place::Devices(resident) => resident.ask(|one| one.logits(prompts, &self.labels)),
        }
    }
}
