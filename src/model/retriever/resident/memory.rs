//! How much of a device's memory a retriever takes.

use super::backward::LearningRoom;
use super::loss::{ScoreRoom, rows_at_once};
use super::pass::PassRoom;
use super::{EIGHT, Resident, Size};
use crate::device::cuda::Counted;
use crate::device::cuda::kernels::USES;
use crate::error::{Error, Result};
use crate::model::decoder::Memory;
use crate::model::resident::{Heads, STATE};
use crate::model::retriever::RetrieverConfig;

impl RetrieverConfig {
    /// What a retriever takes on a device, with room for batches of so many tokens, or of one
    /// history.
    ///
    /// Errors: [`Error::Device`] for dimensions that the kernels do not take.
    pub fn device_memory(&self, tokens_max: usize) -> Result<Memory> {
        let heads = self.device_heads()?;
        let counted = Counted::default();
        let room = PassRoom::new(&counted, self.device_size(heads, tokens_max))?;
        let batch_bytes = counted.bytes();
        drop(room);
        let numbers: usize = self.numbers(heads).into_iter().sum();
        Ok(Memory { weights_bytes: numbers * size_of::<f32>(), batch_bytes })
    }

    /// What keeps a retriever of these dimensions from learning on a device, if anything does.
    pub fn learning_refusal(&self) -> Option<String> {
        let heads = match self.device_heads() {
            Ok(heads) => heads,
            Err(why) => return Some(why.to_string()),
        };
        let numbers: usize = self.numbers(heads).into_iter().sum();
        // Sections are filled up, though not by so much.
        (numbers > i32::MAX as usize - (1 << 20)).then(|| {
            format!(
                "expected a retriever of fewer than 2^31 numbers to learn on a device, found \
                 {numbers}: use a smaller model.hidden, or device = \"cpu\""
            )
        })
    }

    /// As [`RetrieverConfig::device_memory`], of one that learns, from the scores of all items or
    /// from so many of each position: parameters, gradient and moments with the weights, what the
    /// backward pass needs with the batches.
    ///
    /// Errors: [`Error::Device`] for what [`RetrieverConfig::learning_refusal`] says.
    pub fn learning_memory(&self, candidates: Option<usize>, tokens_max: usize) -> Result<Memory> {
        if let Some(why) = self.learning_refusal() {
            return Err(Error::Device(why));
        }
        let heads = self.device_heads()?;
        let (counted, size) = (Counted::default(), self.device_size(heads, tokens_max));
        let rooms = (PassRoom::new(&counted, size)?, LearningRoom::new(&counted, size)?);
        let scores = match candidates {
            None => {
                Some(ScoreRoom::new(&counted, self.items, rows_at_once(self.items, size.tokens))?)
            }
            Some(_) => None,
        };
        let mut batch_bytes = counted.bytes();
        drop((rooms, scores));
        batch_bytes += self.candidates_bytes(candidates.unwrap_or(0) * size.tokens);
        let [products, others] = self.numbers(heads);
        let scored = self.items.next_multiple_of(EIGHT) * self.hidden;
        let products_read = products + if candidates.is_none() { scored } else { 0 };
        let weights_bytes =
            products_read * size_of::<u16>() + STATE * (products + others) * size_of::<f32>();
        Ok(Memory { weights_bytes, batch_bytes })
    }

    /// What so many candidates take: their numbers, their scores' gradient, and how they are added
    /// up by items.
    fn candidates_bytes(&self, count: usize) -> usize {
        let (parts, pieces) = (count / USES, count.min(self.items) + count / USES);
        count * 3 * size_of::<u32>()
            + pieces * 4 * size_of::<u32>()
            + parts * self.hidden * size_of::<f32>()
    }

    /// Errors: [`Error::Device`] for what [`Resident::refusal`] says.
    pub(super) fn device_heads(&self) -> Result<Heads> {
        match Resident::refusal(self) {
            Some(why) => Err(Error::Device(why)),
            None => Heads::new(self.hidden / self.heads),
        }
    }

    fn device_size(&self, heads: Heads, tokens_max: usize) -> Size<'_> {
        Size { config: self, heads, tokens: tokens_max.max(self.length_max) }
    }

    /// Numbers that products read, in the device's heads, and others.
    fn numbers(&self, heads: Heads) -> [usize; 2] {
        let Self { items, hidden, blocks, heads: count, length_max } = *self;
        let queries = count * heads.wide;
        let products = blocks * hidden * (4 * queries + 2 * hidden);
        let affine = blocks * (3 * queries + 3 * hidden + 4 * hidden) + 2 * hidden;
        [products, (items + length_max) * hidden + affine]
    }
}
