//! A decoder that learns on a device.
//!
//! Each batch is added to one gradient, after those before it: the sum depends on how the prompts
//! are cut into batches, and on nothing else.

use super::backward::{Learned, LearningRoom};
use super::pass::{Norm, Placed};
use super::sections::{self, Places};
use super::{Resident, SharedDriver};
use crate::device::cuda::kernels::Rows;
use crate::error::Result;
use crate::model::decoder::{Batch, Learner};
use crate::model::resident::Parameters;

/// A decoder that learns on a device.
pub struct ResidentLearner {
    pub(super) resident: Resident,
    pub(super) places: Places,
    pub(super) parameters: Parameters,
    pub(super) room: LearningRoom,
    pub(super) candidates: Rows,
    tokens_max: usize,
}

impl ResidentLearner {
    /// Copies a learner to a device, with room for batches of so many tokens. What layers compute
    /// is kept for the backward pass if it takes no more than `kept_bytes_max`, with the same
    /// result.
    ///
    /// Errors: those of [`Resident::of`].
    pub fn of(
        driver: SharedDriver,
        learner: &Learner,
        tokens_max: usize,
        kept_bytes_max: usize,
    ) -> Result<Self> {
        let mut resident = Resident::of(driver, learner.decoder(), tokens_max)?;
        let driver = resident.driver.clone();
        let (sections, places) = sections::lay(&resident, learner)?;
        let parameters = Parameters::of(driver.clone(), sections, &learner.parameters())?;
        read_trained(&mut resident, &places, &parameters)?;
        let candidates = resident.candidates(learner.labels())?;
        let room = LearningRoom::new(&*driver, resident.size(tokens_max), kept_bytes_max)?;
        Ok(Self { resident, places, parameters, room, candidates, tokens_max })
    }

    /// Tokens of a batch, at most.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// The decoder as it is now.
    pub fn resident(&self) -> &Resident {
        &self.resident
    }

    /// What is trained, as [`Learner::parameters`] has it, with its gradient and moments.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Adds the gradient of a batch, which is not empty and has no more tokens than there is room
    /// for. `loss` is given the labels' logits (prompts, labels), and writes their gradient, which
    /// is 0 before.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn learn(
        &mut self,
        learner: &Learner,
        batch: &Batch,
        loss: &mut dyn FnMut(&[f32], &mut [f32]),
    ) -> Result<()> {
        let learned = self.forward(learner, batch)?;
        let logits = learned.logits.read(&*self.resident.driver)?;
        let mut d_logits = vec![0.0; logits.len()];
        loss(&logits, &mut d_logits);
        self.backward(&learned, &d_logits)
    }

    /// Changes the gradient of some tokens' embeddings: `change(embeddings, gradient)` of one token
    /// after the other. Those that are fixed have none.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn with_rows(
        &mut self,
        learner: &Learner,
        tokens: &[u32],
        change: &mut dyn FnMut(&[f32], &mut [f32]),
    ) -> Result<()> {
        let Some(all) = self.places.embeddings.clone() else { return Ok(()) };
        let (driver, hidden) = (&*self.resident.driver, self.resident.config.hidden);
        let (mut weights, mut places) = (Vec::new(), Vec::new());
        let mut gradient = Vec::new();
        for row in tokens.iter().filter_map(|token| learner.row(*token)) {
            let start = all.start + row as usize * hidden;
            let row = start..start + hidden;
            let place = self.parameters.gradient(&row)?;
            weights.extend(self.parameters.weights(&row)?.read(driver)?);
            gradient.extend(place.read(driver)?);
            places.push(place);
        }
        change(&weights, &mut gradient);
        let rows = places.iter().zip(gradient.chunks_exact(hidden));
        rows.into_iter().try_for_each(|(place, row)| place.write(driver, row))
    }

    /// The labels' logits of a batch.
    fn forward(&self, learner: &Learner, batch: &Batch) -> Result<Learned> {
        let (resident, room, hidden) = (&self.resident, &self.room, self.resident.config.hidden);
        let trained = [&self.places.embeddings, &self.places.scored];
        let rows = trained.map(|place| place.as_ref().map(|place| place.len() / hidden));
        let learned = Learned::of(resident, learner, batch, rows)?;
        let placed = &learned.placed;
        resident.look_up(placed, &room.stream(0, placed.tokens, hidden)?)?;
        let layers = resident.weights.layers.len();
        (0..layers).try_for_each(|l| self.forward_layer(placed, l))?;
        let last = room.stream(layers, placed.prompts, hidden)?;
        let (weight, rows, scales) =
            (&resident.weights.last_norm, &room.last_normed, &room.last_scales);
        let h = resident.norm(&last, Norm { weight, rows, scales })?;
        let candidates = (&self.candidates, learner.labels().len());
        let call = resident.head(placed, &h, candidates, &learned.logits);
        resident.driver.launch(&call.launch()?)?;
        Ok(learned)
    }

    /// A layer, from what goes into it to what goes into the next one.
    pub(super) fn forward_layer(&self, placed: &Placed, l: usize) -> Result<()> {
        let (resident, room, hidden) = (&self.resident, &self.room, self.resident.config.hidden);
        let layers = &resident.weights.layers;
        let after = placed.after(l, layers.len());
        let (place, attended) = room.place(l);
        let stream = &room.stream(l, placed.tokens, hidden)?;
        let attended = &attended.slice(0..after.count * hidden)?;
        let out = &room.stream(l + 1, after.count, hidden)?;
        resident.norm(stream, place.attention_norm(&layers[l].attention_norm))?;
        resident.layer(place, placed, &layers[l], after, [stream, attended, out], None)
    }
}

/// Makes kernels read norms and biases where they are trained.
fn read_trained(resident: &mut Resident, places: &Places, parameters: &Parameters) -> Result<()> {
    let layers = resident.weights.layers.iter_mut().zip(&places.layers);
    for (layer, trained) in layers {
        let norms = [&mut layer.attention_norm, &mut layer.forward_norm];
        trained.read(parameters, norms, &mut layer.sites)?;
    }
    if let Some(last_norm) = &places.last_norm {
        resident.weights.last_norm = parameters.weights(last_norm)?;
    }
    Ok(())
}
