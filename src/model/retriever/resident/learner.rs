//! A retriever that learns on a device: all of it lies there, with its gradient and moments.

use super::Resident;
use super::backward::{Learned, LearningRoom};
use super::loss::{LossRule, Scored};
use super::sections::{self, Places};
use crate::device::cuda::{Buffer, Driver, SharedDriver};
use crate::error::Result;
use crate::model::resident::Parameters;
use crate::model::retriever::{Retriever, Tokens};
use std::sync::Arc;

/// A retriever that learns on a device.
pub struct ResidentLearner {
    pub(super) resident: Resident,
    pub(super) places: Places,
    pub(super) parameters: Parameters,
    pub(super) room: LearningRoom,
    pub(super) scored: Scored,
}

impl ResidentLearner {
    /// Copies a retriever to a device, with room for batches of so many tokens, or of one sequence.
    ///
    /// Errors: [`crate::error::Error::Device`] for what [`Resident::refusal`] says, and if the
    /// device has too little memory or fails.
    pub fn of(
        driver: SharedDriver,
        retriever: &Retriever,
        rule: LossRule<'_>,
        tokens_max: usize,
    ) -> Result<Self> {
        let mut resident = Resident::of(Arc::clone(&driver), retriever, tokens_max)?;
        let scored = Scored::of(&*driver, retriever, rule, resident.tokens_max)?;
        let all = match &scored {
            Scored::All(scored) => Some(&scored.items),
            _ => None,
        };
        let (sections, places) = sections::lay(&resident, retriever, all)?;
        let parameters = Parameters::of(driver, sections, retriever.parameters())?;
        let weights = &mut resident.weights;
        for (table, place) in weights.tables.iter_mut().zip(&places.tables) {
            *table = parameters.weights(place)?;
        }
        weights.last_norm = parameters.weights(&places.last_norm)?;
        for (block, trained) in weights.blocks.iter_mut().zip(&places.blocks) {
            trained.read(&parameters, block.norms.each_mut(), &mut block.sites)?;
        }
        let room = LearningRoom::new(&*resident.driver, resident.size())?;
        Ok(Self { resident, places, parameters, room, scored })
    }

    /// What reads histories with the weights as they are.
    pub fn resident(&self) -> &Resident {
        &self.resident
    }

    /// What is trained, as [`Retriever::parameters`] has it, with its gradient and moments.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        &*self.resident.driver
    }

    /// Adds the gradient of scale times the loss of a batch, which fits the room. `taught` is the
    /// next item of each token, or that with as many negatives for each, as the rule wants it.
    /// Returns before the device is done: [`ResidentLearner::sum`] waits for the losses.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn learn(&self, tokens: &Tokens, taught: &[u32], scale: f32) -> Result<Buffer<f32>> {
        let learned = Learned::of(&self.resident, tokens)?;
        self.resident.forward(&self.room.forward, &learned.placed)?;
        let losses = self.loss(tokens.len(), taught, scale)?;
        self.backward(&learned)?;
        Ok(losses)
    }

    /// The sum of a batch's losses, in nats.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn sum(&self, losses: &Buffer<f32>) -> Result<f64> {
        Ok(losses.read(self.driver())?.into_iter().map(f64::from).sum())
    }
}
