//! A decoder that reads prompts on from what is kept of them, wherever it computes.

use crate::device::Cpu;
use crate::error::Result;
use crate::model::decoder::{Ask, Decoder, DecoderFiles, Prompt, Resident, SharedDriver, Table};
use crate::model::generate::{Generated, OnCpu, Question, Reads, Settings, generate};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A decoder and the labels whose logits are asked for.
pub struct Reading(Place);

enum Place {
    Cpu(Box<Decoder>, Table),
    Device { resident: Box<Resident>, labels: Vec<u32>, turn: Mutex<()> },
}

impl Reading {
    /// On the processor.
    ///
    /// Errors: a label that is not in the vocabulary; weights that are not finite.
    pub fn here(files: &DecoderFiles, labels: &[u32]) -> Result<Reading> {
        let decoder = files.load()?;
        let table = decoder.labels(labels)?;
        Ok(Reading(Place::Cpu(Box::new(decoder), table)))
    }

    /// On a device, with room for batches of so many tokens, and so many bytes for what is kept of
    /// prompts that are not being read.
    ///
    /// Errors: a label that is not in the vocabulary; weights that are not finite; a device that
    /// does not take the decoder.
    pub fn there(
        device: SharedDriver,
        files: &DecoderFiles,
        labels: &[u32],
        [tokens_max, kept_bytes]: [usize; 2],
    ) -> Result<Reading> {
        files.config().check_tokens(labels)?;
        let resident = Resident::read(device, files, tokens_max)?.keeping(kept_bytes)?;
        let (resident, labels) = (Box::new(resident), labels.to_vec());
        Ok(Reading(Place::Device { resident, labels, turn: Mutex::default() }))
    }

    /// How many logits a prompt has.
    pub fn labels(&self) -> usize {
        match &self.0 {
            Place::Cpu(_, table) => table.outputs(),
            Place::Device { labels, .. } => labels.len(),
        }
    }

    /// Tokens of the longest prompt with its answer.
    pub fn tokens_max(&self) -> usize {
        match &self.0 {
            Place::Cpu(decoder, _) => decoder.config().context_max,
            Place::Device { resident, .. } => Reads::tokens_max(&**resident),
        }
    }

    /// How many devices read prompts.
    pub fn devices(&self) -> usize {
        match &self.0 {
            Place::Cpu(..) => 0,
            Place::Device { .. } => 1,
        }
    }

    /// What keeps a prompt from being read, if anything does.
    pub fn refusal(&self, prompt: &Prompt) -> Option<String> {
        match &self.0 {
            Place::Cpu(decoder, _) => decoder.refusal(prompt),
            Place::Device { resident, .. } => resident.refusal(prompt),
        }
    }

    /// How many of the first prompts, of so many tokens, are best read together: a device has room
    /// for what it keeps of some.
    pub fn together(&self, prompts: impl Iterator<Item = usize>) -> usize {
        match &self.0 {
            Place::Cpu(..) => prompts.count(),
            Place::Device { resident, .. } => resident.kept_together(prompts),
        }
    }

    /// What a thread holds while it reads: a device has that room for one of them at a time.
    pub fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.0 {
            Place::Cpu(..) => None,
            Place::Device { turn, .. } => Some(turn.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// The labels' logits after each prompt, (prompts, labels).
    ///
    /// Errors: a prompt that is refused; logits that are not finite; a device that fails.
    pub fn logits(&self, asks: &mut [Ask<'_>]) -> Result<Vec<f32>> {
        match &self.0 {
            Place::Cpu(decoder, table) => decoder.logits_on(&Cpu, asks, table, 1),
            Place::Device { resident, labels, .. } => resident.logits_on(asks, labels),
        }
    }

    /// What is said to questions.
    ///
    /// Errors: those of [`generate`].
    pub fn answers(
        &self,
        questions: &mut [Question<'_>],
        settings: &Settings,
    ) -> Result<Generated> {
        let each = &mut |_, _| {};
        match &self.0 {
            Place::Cpu(decoder, _) => {
                let reads = OnCpu { decoder, device: &Cpu, threads: 1 };
                generate(&reads, questions, settings, each)
            }
            Place::Device { resident, .. } => generate(&**resident, questions, settings, each),
        }
    }
}
