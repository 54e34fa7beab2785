//! The training of an encoder on a device: what is trained, its gradient and its moments are there,
//! and come here when they are validated or kept. The heads and the loss compute here.

use super::fit::{BETAS, Examine, Plan};
use super::step::Slots;
use crate::error::Result;
use crate::model::encoder::{Follow, Learner, ResidentLearner};
use crate::train::course::{Course, StepOutcome};
use crate::train::update::Moments;

/// An encoder on a device, and what it learns from.
pub(super) struct DeviceStudies<'a, 'b> {
    plan: Plan<'a>,
    /// Gradients of the heads.
    slots: Slots,
    there: ResidentLearner,
    /// Of the base as it was set last; the heads are those of the device.
    pub learner: Learner,
    weights: Vec<f32>,
    examine: &'a mut Examine<'b>,
}

impl<'a, 'b> DeviceStudies<'a, 'b> {
    /// Of a learner that reads texts where it learns.
    ///
    /// Errors: those of the device.
    pub fn new(
        plan: Plan<'a>,
        there: ResidentLearner,
        learner: Learner,
        examine: &'a mut Examine<'b>,
    ) -> Result<Self> {
        let weights = learner.parameters().to_vec();
        there.parameters().set(&weights)?; // the bias has moved since it was copied
        let slots = Slots::new(learner.encoder().heads().values().len());
        Ok(Self { plan, slots, there, learner, weights, examine })
    }
}

impl Course for DeviceStudies<'_, '_> {
    fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn set(&mut self, weights: &[f32]) -> Result<()> {
        self.weights.copy_from_slice(weights);
        self.learner.set(weights)?;
        self.there.parameters().set(weights)
    }

    fn resume(&mut self, moments: &Moments) -> Result<()> {
        self.there.parameters().set_moments([&moments.mean, &moments.square])
    }

    fn fetch(&mut self, moments: &mut Moments) -> Result<()> {
        self.there.parameters().read([&mut self.weights, &mut moments.mean, &mut moments.square])
    }

    fn step(&mut self, step: u64, _: &mut Moments) -> Result<StepOutcome> {
        let batch = self.plan.batch(step);
        let (settings, rates) = (self.plan.settings, self.plan.rates(step));
        let taught = (self.plan.lessons, &self.plan.readings);
        let learners = (&self.learner, &mut self.there);
        let outcome = self.slots.learn_there(settings, learners, taught, &batch)?;
        self.there.write_heads_gradient(&self.slots.take_gradient())?;
        self.there.parameters().follow(&Follow {
            step: step + 1,
            rates: &rates,
            betas: BETAS,
            decay: settings.decay,
            norm_max: settings.gradient_norm_max,
        })?;
        self.learner.set_heads(self.there.heads()?);
        Ok(outcome)
    }

    fn validate(&mut self) -> Result<Option<f64>> {
        (self.examine)(self.learner.encoder())
    }
}
