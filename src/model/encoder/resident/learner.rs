//! An encoder that learns on a device: the base computes there, and what is trained of it and of
//! the heads lies there. The heads, which are small, compute on the processor.

use super::Resident;
use super::backward::{Learned, LearningRoom};
use super::sections::{self, Places};
use crate::device::Turns;
use crate::device::cuda::{Buffer, SharedDriver};
use crate::error::{Error, Result};
use crate::model::encoder::batch::by_length;
use crate::model::encoder::{Batch, Learner, Piece};
use crate::model::resident::Parameters;
use std::sync::Arc;

/// An encoder that learns on a device.
pub struct ResidentLearner {
    pub(super) resident: Arc<Resident>,
    pub(super) places: Places,
    pub(super) parameters: Parameters,
    pub(super) room: LearningRoom,
}

impl ResidentLearner {
    /// Copies a learner to a device, with room for batches of so many tokens, or of one text; texts
    /// that the learner's encoder reads are read there from now on, with the weights as they are.
    ///
    /// Errors: [`Error::Device`] for what [`super::super::Encoder::device_refusal`] says, and if
    /// the device has too little memory or fails.
    pub fn of(driver: SharedDriver, learner: &mut Learner, tokens_max: usize) -> Result<Self> {
        let Some(bert) = learner.encoder.bert() else {
            return Err(Error::Device(learner.encoder.device_refusal().unwrap_or_default()));
        };
        let mut resident = Resident::of(driver, bert, tokens_max)?;
        let driver = Arc::clone(&resident.driver);
        let (sections, places) = sections::lay(&resident, learner)?;
        let parameters = Parameters::of(Arc::clone(&driver), sections, learner.parameters())?;
        read_trained(&mut resident, &places, &parameters)?;
        let room = LearningRoom::new(&*driver, resident.size(resident.tokens_max))?;
        let resident = Arc::new(resident);
        let devices = Turns::new(vec![Arc::clone(&resident)]);
        learner.encoder.devices = Some(Arc::new(devices));
        Ok(Self { resident, places, parameters, room })
    }

    /// What is trained, as [`Learner::parameters`] has it, with its gradient and moments.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Adds the base's gradient by some texts. `loss` is given their pooled rows (texts, hidden)
    /// and writes the gradient by them, which is 0 before. Texts that do not fit into one batch are
    /// read twice: before the loss is known, and after it. Returns the operations of one reading
    /// and of the gradients.
    ///
    /// Errors: [`Error::Device`] if the device fails.
    pub fn learn(
        &mut self,
        learner: &Learner,
        pieces: &[&Piece],
        loss: &mut dyn FnMut(&[f32], &mut [f32]),
    ) -> Result<u64> {
        let hidden = self.resident.config.hidden;
        let row = |at: usize| at * hidden..(at + 1) * hidden;
        let cut = by_length(pieces, self.resident.tokens_max);
        let batch = |some: &[usize]| Batch::of(some.iter().map(|at| pieces[*at]));
        let mut pooled = vec![0.0; pieces.len() * hidden];
        let mut latest = None;
        for some in &cut {
            let (learned, rows) = self.forward(&batch(some))?;
            let rows = rows.read(&*self.resident.driver)?;
            for (at, from) in some.iter().zip(rows.chunks_exact(hidden)) {
                pooled[row(*at)].copy_from_slice(from);
            }
            latest = Some(learned);
        }
        let mut d_pooled = vec![0.0; pooled.len()];
        loss(&pooled, &mut d_pooled);
        let mut flops = 0;
        // Backwards: what the layers have computed of the latest batch is still there.
        for some in cut.iter().rev() {
            let batch = batch(some);
            let learned = match latest.take() {
                Some(learned) => learned,
                None => self.forward(&batch)?.0,
            };
            let d_rows: Vec<f32> =
                some.iter().flat_map(|at| &d_pooled[row(*at)]).copied().collect();
            self.backward(&learned, &d_rows)?;
            flops += learner.flops(&batch);
        }
        Ok(flops)
    }

    /// A batch, and its pooled rows.
    fn forward(&self, batch: &Batch) -> Result<(Learned, Buffer<f32>)> {
        let learned = Learned::of(&self.resident, batch, self.places.tables.is_some())?;
        let rows = self.resident.forward(&self.room.forward, &learned.placed)?;
        Ok((learned, rows))
    }

    /// Writes the heads' gradient, as their parameters lie.
    ///
    /// Errors: [`Error::Device`] if the device fails.
    pub fn write_heads_gradient(&mut self, gradient: &[f32]) -> Result<()> {
        let mut start = 0;
        for place in &self.places.heads {
            let end = start + place.len();
            self.parameters
                .gradient(place)?
                .write(&*self.resident.driver, &gradient[start..end])?;
            start = end;
        }
        Ok(())
    }

    /// Copies the heads' parameters from the device.
    ///
    /// Errors: [`Error::Device`] if the device fails.
    pub fn heads(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for place in &self.places.heads {
            all.extend(self.parameters.weights(place)?.read(&*self.resident.driver)?);
        }
        Ok(all)
    }
}

/// Makes kernels read tables, norms and biases where they are trained.
fn read_trained(resident: &mut Resident, places: &Places, parameters: &Parameters) -> Result<()> {
    let weights = &mut resident.weights;
    for (table, place) in weights.tables.iter_mut().zip(places.tables.iter().flatten()) {
        *table = parameters.weights(place)?;
    }
    if let Some(first_norm) = &places.first_norm {
        weights.first_norm = parameters.weights(first_norm)?;
    }
    for (layer, trained) in weights.layers.iter_mut().zip(&places.layers) {
        let norms = [&mut layer.attention_norm, &mut layer.last_norm];
        trained.read(parameters, norms, &mut layer.sites)?;
    }
    Ok(())
}
