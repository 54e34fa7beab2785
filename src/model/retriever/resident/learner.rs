//! A retriever that learns on a device: all of it lies there, with its gradient and moments.

use super::Resident;
use super::backward::{Learned, LearningRoom};
use super::loss::{LossRule, Scored};
use super::sections::{self, Places};
use crate::device::cuda::{Buffer, Driver, SharedDriver};
use crate::error::Result;
use crate::model::resident::{Given, Laid, Multiplied, Parameters, TrainedSite};
use crate::model::retriever::layout::BlockLayout;
use crate::model::retriever::{Retriever, Tokens};
use std::sync::Arc;

/// A retriever that learns on a device.
pub struct ResidentLearner {
    pub(super) resident: Resident,
    /// What products read while it learns, block by block.
    pub(super) multiplied: Vec<[Multiplied; 4]>,
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
        let (heads, layout) = (resident.heads, &retriever.layout);
        let multiplied = layout.blocks.iter().map(|block| {
            let site = |site| multiplied(&*driver, retriever, block, Laid { heads, site });
            Ok([site(0)?, site(1)?, site(2)?, site(3)?])
        });
        let mut multiplied = multiplied.collect::<Result<Vec<_>>>()?;
        let (sections, places) = sections::lay((heads, &multiplied), retriever, all)?;
        let parameters = Parameters::of(driver, sections, retriever.parameters())?;
        read_trained(&mut resident, &mut multiplied, &places, &parameters)?;
        let room = LearningRoom::new(&*resident.driver, resident.size())?;
        Ok(Self { resident, multiplied, places, parameters, room, scored })
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
        self.forward(&learned.placed)?;
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

/// What a product reads, in bf16.
fn multiplied(
    driver: &dyn Driver,
    from: &Retriever,
    at: &BlockLayout,
    laid: Laid,
) -> Result<Multiplied> {
    let hidden = from.config.hidden;
    let [weight, bias] = at.weight_and_bias(laid.site, hidden).map(|range| &from.parameters[range]);
    let read = |row: usize, to: &mut [f32]| {
        to.copy_from_slice(&weight[row * hidden..][..hidden]);
        Ok(())
    };
    let size = [bias.len(), hidden];
    let given = Given { size, read: &read, bias, changes: &[], fp8: false };
    Multiplied::of(driver, laid, &given)
}

/// Makes both passes read all that is trained where it is.
fn read_trained(
    resident: &mut Resident,
    multiplied: &mut [[Multiplied; 4]],
    places: &Places,
    parameters: &Parameters,
) -> Result<()> {
    let weights = &mut resident.weights;
    for (table, place) in weights.tables.iter_mut().zip(&places.tables) {
        *table = parameters.weights(place)?;
    }
    weights.last_norm = parameters.weights(&places.last_norm)?;
    let blocks = weights.blocks.iter_mut().zip(multiplied).zip(&places.blocks);
    for ((block, multiplied), trained) in blocks {
        trained.read(parameters, block.norms.each_mut(), multiplied)?;
        for (site, trained) in block.sites.iter_mut().zip(&trained.sites) {
            let TrainedSite::Weight { weight, bias: Some(bias) } = trained else { continue };
            site.weight = parameters.weights(weight)?;
            site.bias = parameters.weights(bias)?;
        }
    }
    Ok(())
}
