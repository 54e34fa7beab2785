//! Parameters that are trained on a device: they, their gradient and the optimiser's moments are
//! there in f32, and in bf16 where products read them.

use super::Sections;
use crate::device::cuda::kernels::{AdamW, Round, Spread, SquareSums};
use crate::device::cuda::{Bf16, Buffer, Driver, SharedDriver};
use crate::error::Result;
use std::ops::Range;

/// How the parameters follow their gradient.
#[derive(Clone, Copy, Debug)]
pub struct Follow<'a> {
    /// The step, from 1.
    pub step: u64,
    /// The learning rates of this step: of a decoder one, of an encoder those of its base, of its
    /// heads, and of scale and bias of its logit.
    pub rates: &'a [f32],
    /// AdamW's β₁ and β₂.
    pub betas: (f32, f32),
    /// AdamW's decoupled weight decay.
    pub decay: f32,
    /// The largest norm of the gradient, which is scaled down to it; 0 for no limit.
    pub norm_max: f32,
}

/// Numbers that are kept of each parameter: itself, its gradient, and two moments.
pub const STATE: usize = 4;

/// What is trained.
pub struct Parameters {
    /// Of the device where they are.
    pub driver: SharedDriver,
    sections: Sections,
    /// w, m and v.
    state: [Buffer<f32>; 3],
    gradient: Buffer<f32>,
    squares: Buffer<f32>,
}

impl Parameters {
    /// Copies parameters to a device, also to where products read them.
    ///
    /// Errors: [`crate::error::Error::Device`] for more than kernels can count, and if the device
    /// has too little memory or fails.
    pub fn of(driver: SharedDriver, sections: Sections, parameters: &[f32]) -> Result<Self> {
        sections.check()?;
        let numbers = sections.laid(parameters);
        let zeros = || {
            let buffer = Buffer::new(&*driver, numbers.len())?;
            clear(&*driver, &buffer).map(|()| buffer)
        };
        let state = [Buffer::of(&*driver, &numbers)?, zeros()?, zeros()?];
        let gradient = zeros()?;
        let squares = Buffer::new(&*driver, SquareSums::parts_of(numbers.len()))?;
        let all = Self { driver, sections, state, gradient, squares };
        all.round()?;
        Ok(all)
    }

    /// Some of the numbers.
    pub fn weights(&self, place: &Range<usize>) -> Result<Buffer<f32>> {
        self.state[0].slice(place.clone())
    }

    /// Their gradient.
    pub fn gradient(&self, place: &Range<usize>) -> Result<Buffer<f32>> {
        self.gradient.slice(place.clone())
    }

    /// Goes on with other parameters.
    ///
    /// Errors, here and below: [`crate::error::Error::Device`] if the device fails.
    pub fn set(&self, parameters: &[f32]) -> Result<()> {
        self.state[0].write(&*self.driver, &self.sections.laid(parameters))?;
        self.round()
    }

    /// Goes on with other moments: the gradients' running mean, and their squares'.
    pub fn set_moments(&self, moments: [&[f32]; 2]) -> Result<()> {
        let state = self.state[1..].iter().zip(moments);
        state
            .into_iter()
            .try_for_each(|(to, from)| to.write(&*self.driver, &self.sections.laid(from)))
    }

    /// Copies the parameters and both moments from the device.
    pub fn read(&self, to: [&mut [f32]; 3]) -> Result<()> {
        let state = self.state.iter().zip(to);
        state.into_iter().try_for_each(|(from, to)| self.read_one(from, to))
    }

    /// Copies the gradient from the device.
    pub fn read_gradient(&self, to: &mut [f32]) -> Result<()> {
        self.read_one(&self.gradient, to)
    }

    fn read_one(&self, from: &Buffer<f32>, to: &mut [f32]) -> Result<()> {
        self.sections.parameters(&from.read(&*self.driver)?, to);
        Ok(())
    }

    /// Takes the optimiser's step, and leaves a gradient of zeros.
    pub fn follow(&self, with: &Follow<'_>) -> Result<()> {
        let scale = self.scale(with.norm_max)?;
        let [w, m, v] = &self.state;
        for section in &self.sections.all {
            let part = |of: &Buffer<f32>| of.slice(section.place.clone());
            let call = AdamW {
                step: with.step,
                rate: with.rates[section.rate],
                betas: with.betas,
                decay: if section.decays { with.decay } else { 0.0 },
                scale,
                gradient: &part(&self.gradient)?,
                state: [&part(w)?, &part(m)?, &part(v)?],
                rounded: section.rounded.as_ref(),
            };
            self.driver.launch(&call.launch()?)?;
        }
        clear(&*self.driver, &self.gradient)
    }

    /// What the gradient is multiplied by so that its norm is not above the limit.
    fn scale(&self, norm_max: f32) -> Result<f32> {
        if norm_max <= 0.0 {
            return Ok(1.0);
        }
        let call = SquareSums { x: &self.gradient, parts: &self.squares };
        self.driver.launch(&call.launch()?)?;
        let squares = self.squares.read(&*self.driver)?;
        let norm = squares.into_iter().map(f64::from).sum::<f64>().sqrt() as f32;
        Ok(if norm > norm_max { norm_max / norm } else { 1.0 })
    }

    /// Leaves the parameters where products read them.
    fn round(&self) -> Result<()> {
        for section in &self.sections.all {
            let Some(rounded) = &section.rounded else { continue };
            let x = &self.weights(&section.place)?;
            self.driver.launch(&Round { x, rounded }.launch()?)?;
        }
        Ok(())
    }
}

/// Writes zeros to a multiple of 8 numbers.
pub fn clear(driver: &dyn Driver, out: &Buffer<f32>) -> Result<()> {
    driver.launch(&Spread { columns: 8, x: None, out }.launch()?)
}

/// Rows as products read them, at the beginning of a buffer.
pub fn rounded(driver: &dyn Driver, x: &Buffer<f32>, to: &Buffer<Bf16>) -> Result<Buffer<Bf16>> {
    let rounded = to.slice(0..x.len())?;
    driver.launch(&Round { x, rounded: &rounded }.launch()?)?;
    Ok(rounded)
}
