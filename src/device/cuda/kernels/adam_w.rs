//! The optimiser's step.

use super::super::launch::{ADAM_W, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{fits, u32_of};
use crate::error::Result;

const THREADS: u32 = 256;
/// As on the processor.
const EPSILON: f32 = 1e-8;

/// One step; the formula is [`crate::device::AdamW`]'s.
#[derive(Clone, Copy, Debug)]
pub struct AdamW<'a> {
    /// The step, from 1.
    pub step: u64,
    /// The learning rate.
    pub rate: f32,
    /// β₁ and β₂.
    pub betas: (f32, f32),
    /// Decoupled weight decay.
    pub decay: f32,
    /// What the gradients are multiplied by first.
    pub scale: f32,
    /// g.
    pub gradient: &'a Buffer<f32>,
    /// w, m and v, as long as the gradient.
    pub state: [&'a Buffer<f32>; 3],
    /// The weights as products read them.
    pub rounded: Option<&'a Buffer<Bf16>>,
}

impl AdamW<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length differs from the gradient's.
    pub fn launch(&self) -> Result<Launch> {
        let (name, length) = (ADAM_W.name, self.gradient.len());
        for (which, buffer) in ["w", "m", "v"].into_iter().zip(self.state) {
            fits(name, which, buffer, &[length])?;
        }
        self.rounded.map_or(Ok(()), |rounded| fits(name, "rounded", rounded, &[length]))?;
        let step = self.step.min(i32::MAX as u64) as i32;
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(step))) as f32;
        let ([w, m, v], (beta_m, beta_v)) = (self.state, self.betas);
        let arguments = arguments![
            self.gradient,
            w,
            m,
            v,
            self.rounded,
            u32_of(name, length)?,
            self.scale,
            beta_m,
            beta_v,
            correction(beta_m),
            correction(beta_v),
            self.rate,
            1.0 - self.rate * self.decay,
            EPSILON,
        ];
        Launch::new(ADAM_W, arguments).over([length.div_ceil(THREADS as usize), 1], THREADS)
    }
}
