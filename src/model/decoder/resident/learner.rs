//! A decoder that learns on a device: the parameters, their gradient and the optimiser's moments
//! are there in f32, and in bf16 where products read them.
//!
//! Each batch is added to one gradient, after those before it: the sum depends on how the prompts
//! are cut into batches, and on nothing else.

use super::backward::{Learned, LearningRoom};
use super::pass::Placed;
use super::sections::{Sections, TrainedSite};
use super::{Resident, SharedDriver};
use crate::device::cuda::kernels::{AdamW, Round, Rows, Spread, SquareSums};
use crate::device::cuda::{Buffer, Driver};
use crate::error::Result;
use crate::model::decoder::{Batch, Learner};

/// How the parameters follow their gradient.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// The step, from 1.
    pub step: u64,
    /// The learning rate of this step.
    pub rate: f32,
    /// AdamW's β₁ and β₂.
    pub betas: (f32, f32),
    /// AdamW's decoupled weight decay.
    pub decay: f32,
    /// The largest norm of the gradient, which is scaled down to it; 0 for no limit.
    pub norm_max: f32,
}

/// A decoder that learns on a device.
pub struct ResidentLearner {
    pub(super) resident: Resident,
    pub(super) sections: Sections,
    /// w, m and v.
    state: [Buffer<f32>; 3],
    pub(super) gradient: Buffer<f32>,
    squares: Buffer<f32>,
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
        let driver = &*resident.driver.clone();
        let sections = Sections::of(&resident, learner)?;
        let numbers = sections.laid(&learner.parameters());
        let weights = Buffer::of(driver, &numbers)?;
        let state = [weights, zeros(driver, numbers.len())?, zeros(driver, numbers.len())?];
        let gradient = zeros(driver, numbers.len())?;
        read_trained(&mut resident, &sections, &state[0])?;
        let candidates = resident.candidates(learner.labels())?;
        let room = LearningRoom::new(driver, resident.size(tokens_max), kept_bytes_max)?;
        let squares = Buffer::new(driver, SquareSums::parts_of(numbers.len()))?;
        let learner =
            Self { resident, sections, state, gradient, squares, room, candidates, tokens_max };
        learner.round()?;
        Ok(learner)
    }

    /// Tokens of a batch, at most.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    /// The decoder as it is now.
    pub fn resident(&self) -> &Resident {
        &self.resident
    }

    /// Goes on with other parameters, as [`Learner::parameters`] has them.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn set(&mut self, parameters: &[f32]) -> Result<()> {
        self.state[0].write(&*self.resident.driver, &self.sections.laid(parameters))?;
        self.round()
    }

    /// Goes on with other moments: the gradients' running mean, and their squares'.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn set_moments(&mut self, moments: [&[f32]; 2]) -> Result<()> {
        let driver = &*self.resident.driver;
        let state = self.state[1..].iter().zip(moments);
        state.into_iter().try_for_each(|(to, from)| to.write(driver, &self.sections.laid(from)))
    }

    /// Copies the parameters and both moments from the device.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn read(&self, to: [&mut [f32]; 3]) -> Result<()> {
        let state = self.state.iter().zip(to);
        state.into_iter().try_for_each(|(from, to)| self.read_one(from, to))
    }

    /// Copies the gradient from the device.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn read_gradient(&self, to: &mut [f32]) -> Result<()> {
        self.read_one(&self.gradient, to)
    }

    fn read_one(&self, from: &Buffer<f32>, to: &mut [f32]) -> Result<()> {
        self.sections.parameters(&from.read(&*self.resident.driver)?, to);
        Ok(())
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
        let Some(all) = self.sections.embeddings.clone() else { return Ok(()) };
        let (driver, hidden) = (&*self.resident.driver, self.resident.config.hidden);
        let (mut weights, mut places) = (Vec::new(), Vec::new());
        let mut gradient = Vec::new();
        for row in tokens.iter().filter_map(|token| learner.row(*token)) {
            let start = all.start + row as usize * hidden;
            let place = self.gradient.slice(start..start + hidden)?;
            weights.extend(self.state[0].slice(start..start + hidden)?.read(driver)?);
            gradient.extend(place.read(driver)?);
            places.push(place);
        }
        change(&weights, &mut gradient);
        let rows = places.iter().zip(gradient.chunks_exact(hidden));
        rows.into_iter().try_for_each(|(place, row)| place.write(driver, row))
    }

    /// Takes the optimiser's step, and leaves a gradient of zeros.
    ///
    /// Errors: [`crate::error::Error::Device`] if the device fails.
    pub fn follow(&mut self, with: &Follow) -> Result<()> {
        let driver = &*self.resident.driver;
        let scale = self.scale(with.norm_max)?;
        let [w, m, v] = &self.state;
        for section in &self.sections.all {
            let part = |of: &Buffer<f32>| of.slice(section.place.clone());
            let call = AdamW {
                step: with.step,
                rate: with.rate,
                betas: with.betas,
                decay: if section.decays { with.decay } else { 0.0 },
                scale,
                gradient: &part(&self.gradient)?,
                state: [&part(w)?, &part(m)?, &part(v)?],
                rounded: section.rounded.as_ref(),
            };
            driver.launch(&call.launch()?)?;
        }
        clear(driver, &self.gradient)
    }

    /// What the gradient is multiplied by so that its norm is not above the limit.
    fn scale(&self, norm_max: f32) -> Result<f32> {
        if norm_max <= 0.0 {
            return Ok(1.0);
        }
        let driver = &*self.resident.driver;
        let call = SquareSums { x: &self.gradient, parts: &self.squares };
        driver.launch(&call.launch()?)?;
        let squares = self.squares.read(driver)?;
        let norm = squares.into_iter().map(f64::from).sum::<f64>().sqrt() as f32;
        Ok(if norm > norm_max { norm_max / norm } else { 1.0 })
    }

    /// Leaves the parameters where products read them.
    fn round(&self) -> Result<()> {
        let driver = &*self.resident.driver;
        for section in &self.sections.all {
            let Some(rounded) = &section.rounded else { continue };
            let x = &self.state[0].slice(section.place.clone())?;
            driver.launch(&Round { x, rounded }.launch()?)?;
        }
        Ok(())
    }

    /// The labels' logits of a batch.
    fn forward(&self, learner: &Learner, batch: &Batch) -> Result<Learned> {
        let (resident, room, hidden) = (&self.resident, &self.room, self.resident.config.hidden);
        let trained = [&self.sections.embeddings, &self.sections.scored];
        let rows = trained.map(|place| place.as_ref().map(|place| place.len() / hidden));
        let learned = Learned::of(resident, learner, batch, rows)?;
        let placed = &learned.placed;
        resident.look_up(placed, &room.stream(0, placed.tokens, hidden)?)?;
        let layers = resident.weights.layers.len();
        (0..layers).try_for_each(|l| self.forward_layer(placed, l))?;
        let last = room.stream(layers, placed.prompts, hidden)?;
        let to = (&room.last_normed, &room.last_scales);
        let h = resident.norm(&last, &resident.weights.last_norm, to)?;
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
        resident.layer(place, placed, &layers[l], after, [stream, attended, out])
    }
}

/// Makes kernels read norms and biases where they are trained.
fn read_trained(resident: &mut Resident, sections: &Sections, weights: &Buffer<f32>) -> Result<()> {
    let layers = resident.weights.layers.iter_mut().zip(&sections.layers);
    for (layer, trained) in layers {
        if let Some([attention, forward]) = &trained.norms {
            layer.attention_norm = weights.slice(attention.clone())?;
            layer.forward_norm = weights.slice(forward.clone())?;
        }
        for (site, trained) in layer.sites.iter_mut().zip(&trained.sites) {
            if let TrainedSite::Weight { bias: Some(bias), .. } = trained {
                site.bias = Some(weights.slice(bias.clone())?);
            }
        }
    }
    if let Some(last_norm) = &sections.last_norm {
        resident.weights.last_norm = weights.slice(last_norm.clone())?;
    }
    Ok(())
}

fn zeros(driver: &dyn Driver, length: usize) -> Result<Buffer<f32>> {
    let buffer = Buffer::new(driver, length)?;
    clear(driver, &buffer)?;
    Ok(buffer)
}

/// Writes zeros to a multiple of 8 numbers.
pub(super) fn clear(driver: &dyn Driver, out: &Buffer<f32>) -> Result<()> {
    driver.launch(&Spread { columns: 8, x: None, out }.launch()?)
}
