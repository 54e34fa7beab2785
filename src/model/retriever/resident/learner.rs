//! A retriever that learns on a device: all of it lies there, with its gradient and moments.

use super::backward::{Learned, LearningRoom};
use super::loss::{LossRule, Lost, Scored};
use super::sections::{self, Places, TrainedBlock};
use super::{Block, Resident, Site, Weights};
use crate::device::cuda::{Driver, SharedDriver};
use crate::error::{Error, Result};
use crate::model::resident::{Given, Laid, Multiplied, Parameters, TrainedSite};
use crate::model::retriever::layout::BlockLayout;
use crate::model::retriever::{Retriever, Tokens};
use std::ops::Range;
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
    /// Errors: [`Error::Device`] for what
    /// [`crate::model::retriever::RetrieverConfig::learning_refusal`] says, and if the device has
    /// too little memory or fails.
    pub fn of(
        driver: SharedDriver,
        retriever: &Retriever,
        rule: LossRule<'_>,
        tokens_max: usize,
    ) -> Result<Self> {
        let (config, layout) = (&retriever.config, &retriever.layout);
        if let Some(why) = config.learning_refusal() {
            return Err(Error::Device(why));
        }
        let (heads, tokens_max) = (config.device_heads()?, tokens_max.max(config.length_max));
        let scored = Scored::of(&*driver, retriever, rule, tokens_max)?;
        let all = match &scored {
            Scored::All(scored) => Some(&scored.items),
            _ => None,
        };
        let multiplied = layout.blocks.iter().map(|block| {
            let site = |site| multiplied(&*driver, retriever, block, Laid { heads, site });
            Ok([site(0)?, site(1)?, site(2)?, site(3)?])
        });
        let mut multiplied = multiplied.collect::<Result<Vec<_>>>()?;
        let (sections, places) = sections::lay((heads, &multiplied), retriever, all)?;
        let parameters = Parameters::of(Arc::clone(&driver), sections, retriever.parameters())?;
        let weights = trained(&places, &parameters)?;
        for (multiplied, block) in multiplied.iter_mut().zip(&weights.blocks) {
            for (with, site) in multiplied.iter_mut().zip(&block.sites) {
                with.bias = Some(site.bias.clone());
            }
        }
        let resident = Resident::with(driver, config, weights, tokens_max)?;
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
    /// Returns before the device is done.
    ///
    /// Errors: [`Error::Device`] if the device fails.
    pub fn learn(&self, tokens: &Tokens, taught: &[u32], scale: f32) -> Result<Learning> {
        let learned = Learned::of(&self.resident, tokens)?;
        self.forward(&learned.placed)?;
        let lost = self.loss(tokens.len(), taught, scale)?;
        self.backward(&learned)?;
        Ok(Learning { lost, _learned: learned })
    }

    /// The sum of a batch's losses, in nats; waits for the device.
    ///
    /// Errors: [`Error::Device`] if the device fails.
    pub fn sum(&self, learning: &Learning) -> Result<f64> {
        let losses = learning.lost.losses.read(self.driver())?;
        Ok(losses.into_iter().map(f64::from).sum())
    }
}

/// A batch that a device may still be learning from: giving its memory back waits for the device.
pub struct Learning {
    lost: Lost,
    _learned: Learned,
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

/// The weights where they are trained.
fn trained(places: &Places, parameters: &Parameters) -> Result<Weights> {
    let at = |place: &Range<usize>| parameters.weights(place);
    let site = |site: &TrainedSite| match site {
        TrainedSite::Weight { weight, bias: Some(bias) } => {
            Ok(Site { weight: at(weight)?, bias: at(bias)? })
        }
        _ => Err(Error::Device("a retriever's product is not trained".into())),
    };
    let block = |TrainedBlock { sites, norms: [first, second] }: &TrainedBlock| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| site(&sites[at]));
        Ok(Block { sites: [a?, b?, c?, d?], norms: [at(first)?, at(second)?] })
    };
    let [items, positions] = &places.tables;
    Ok(Weights {
        tables: [at(items)?, at(positions)?],
        blocks: places.blocks.iter().map(block).collect::<Result<_>>()?,
        last_norm: at(&places.last_norm)?,
    })
}
