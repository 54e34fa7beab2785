//! What the training of an encoder is told.

use crate::error::Result;
use crate::model::encoder::Trained;
use crate::train::settings::refuse;

/// What is minimised, averaged over the pairs of request and item of a batch, where z is a pair's
/// logit, y its score, and σ the logistic function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderLoss {
    /// (σ(z) − y)².
    Mse,
    /// −y ln σ(z) − (1 − y) ln(1 − σ(z)), in nats.
    Bce,
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// As half a cosine to 0 at the end of the last epoch.
    Cosine,
    /// As it is.
    Constant,
}

/// What the training of an encoder is told. All but `threads` is part of what is learned.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderSettings {
    /// What of the base is trained.
    pub trained: Trained,
    /// What is minimised.
    pub loss: EncoderLoss,
    /// Weight of the in-batch contrast that is added to the loss: the mean over pairs with a score
    /// of at least 0.5 of −ln softmax of the pair's logit among it and those of the same request
    /// with the items of the lessons beside it; 0 for none. Source: van den Oord et al.,
    /// Representation Learning with Contrastive Predictive Coding (2018), eq. 4.
    pub negatives: f32,
    /// Lessons in a batch.
    pub batch: usize,
    /// AdamW's learning rate for the base, after the warm-up.
    pub rate: f32,
    /// The same for the heads.
    pub heads_rate: f32,
    /// The same for scale (its logarithm) and bias of the logit.
    pub scale_rate: f32,
    /// AdamW's decoupled weight decay; norms, biases and the scale do not decay.
    pub decay: f32,
    /// Steps in which the learning rate rises linearly from 0.
    pub warmup_steps: u64,
    /// What comes after them.
    pub schedule: Schedule,
    /// The largest norm of a batch's gradient, which is scaled down to it; 0 for no limit.
    pub gradient_norm_max: f32,
    /// Passes over the lessons, at most.
    pub epochs_max: u64,
    /// Steps from one validation to the next; 0 for one after each epoch.
    pub validate_steps: u64,
    /// Validations without a better value before training stops.
    pub patience: u64,
    /// Steps from one checkpoint to the next; 0 for one after each epoch only.
    pub checkpoint_steps: u64,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Threads; what is learned does not depend on them.
    pub threads: usize,
}

impl EncoderSettings {
    /// Usual values for what is trained.
    pub fn new(trained: Trained) -> Self {
        let rate = match trained {
            Trained::Lora { .. } => 5e-4,
            _ => 5e-5,
        };
        Self {
            trained,
            loss: EncoderLoss::Bce,
            negatives: 0.0,
            batch: 64,
            rate,
            heads_rate: 1e-3,
            scale_rate: 1e-2,
            decay: 0.01,
            warmup_steps: 20,
            schedule: Schedule::Cosine,
            gradient_norm_max: 1.0,
            epochs_max: 3,
            validate_steps: 0,
            patience: 3,
            checkpoint_steps: 0,
            seed: 0,
            threads: 1,
        }
    }

    /// What the learning rates are multiplied by in a step, from 0, of so many.
    ///
    /// Formula: min((step + 1) / warm-up, 1) in the warm-up, and after it 1, or
    /// (1 + cos(π · p)) / 2 with p the share of the rest that is done.
    /// Source: Loshchilov and Hutter, SGDR (2017), eq. 5, without restarts.
    pub fn height_at(&self, step: u64, steps_max: u64) -> f32 {
        let warmup = self.warmup_steps.min(steps_max);
        if step < warmup {
            return (step + 1) as f32 / warmup as f32;
        }
        if self.schedule == Schedule::Constant {
            return 1.0;
        }
        let share = (step - warmup) as f64 / (steps_max - warmup).max(1) as f64;
        (0.5 * (1.0 + (std::f64::consts::PI * share).cos())) as f32
    }

    /// Errors: [`crate::error::Error::Model`] that names every setting out of its range.
    pub fn check(&self) -> Result<()> {
        let finite = |x: f32| x.is_finite() && x >= 0.0;
        let alpha = match self.trained {
            Trained::Lora { alpha, .. } => alpha,
            _ => 1.0,
        };
        refuse(&[
            ("trained.alpha", alpha, alpha > 0.0 && alpha.is_finite()),
            ("negatives", f64::from(self.negatives), finite(self.negatives)),
            ("batch", self.batch as f64, self.batch > 0),
            ("rate", f64::from(self.rate), finite(self.rate) && self.rate > 0.0),
            ("heads_rate", f64::from(self.heads_rate), finite(self.heads_rate)),
            ("scale_rate", f64::from(self.scale_rate), finite(self.scale_rate)),
            ("decay", f64::from(self.decay), finite(self.decay)),
            ("gradient_norm_max", f64::from(self.gradient_norm_max), self.gradient_norm_max >= 0.0),
            ("epochs_max", self.epochs_max as f64, self.epochs_max > 0),
            ("patience", self.patience as f64, self.patience > 0),
            ("threads", self.threads as f64, self.threads > 0),
        ])
    }
}
