//! What the training of a re-ranker is told.

use crate::error::Result;
use crate::model::decoder::Trained;
use crate::train::settings::refuse;

/// What keeps the embeddings of some tokens apart: see [`crate::train::contrast::contrast`].
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// What the term is multiplied by before it is added to a batch's mean loss; above 0.
    pub weight: f32,
    /// The tokens.
    pub tokens: Vec<u32>,
}

/// What the training of a re-ranker is told. All but `kept_bytes_max` and `threads` is part of what
/// is learned.
#[derive(Clone, Debug, PartialEq)]
pub struct RerankerSettings {
    /// What of the decoder is trained.
    pub trained: Trained,
    /// Moments in a batch.
    pub batch: usize,
    /// AdamW's learning rate, after the warm-up.
    pub rate: f32,
    /// AdamW's decoupled weight decay; norms and biases do not decay.
    pub decay: f32,
    /// Steps in which the learning rate rises linearly from 0. It falls as half a cosine after
    /// them, to 0 at the end of `epochs_max`.
    pub warmup_steps: u64,
    /// The largest norm of a batch's gradient, which is scaled down to it; 0 for no limit.
    pub gradient_norm_max: f32,
    /// Passes over the examples, at most.
    pub epochs_max: u64,
    /// Steps from one validation to the next; 0 for one after each epoch.
    pub validate_steps: u64,
    /// Validations without a better value before training stops.
    pub patience: u64,
    /// Steps from one checkpoint to the next; 0 for one after each epoch only.
    pub checkpoint_steps: u64,
    /// What a thread may keep of a forward pass for its backward pass, in bytes; layers beyond it
    /// are computed again. What is learned does not depend on it.
    pub kept_bytes_max: usize,
    /// What everything random is drawn from.
    pub seed: u64,
    /// Threads; what is learned does not depend on them.
    pub threads: usize,
    /// What is added to the loss; nothing when left out.
    pub contrast: Option<Contrast>,
}

impl RerankerSettings {
    /// Usual values for what is trained.
    pub fn new(trained: Trained) -> Self {
        Self {
            trained,
            batch: 16,
            rate: 1e-4,
            decay: 0.0,
            warmup_steps: 20,
            gradient_norm_max: 1.0,
            epochs_max: 3,
            validate_steps: 0,
            patience: 3,
            checkpoint_steps: 0,
            kept_bytes_max: 1 << 30,
            seed: 0,
            threads: 1,
            contrast: None,
        }
    }

    /// The learning rate of a step, from 0, of so many.
    ///
    /// Formula: rate · min((step + 1) / warm-up, 1) in the warm-up, and after it
    /// rate · (1 + cos(π · p)) / 2 with p the share of the rest that is done.
    /// Source: Loshchilov and Hutter, SGDR (2017), eq. 5, without restarts.
    pub fn rate_at(&self, step: u64, steps_max: u64) -> f32 {
        let warmup = self.warmup_steps.min(steps_max);
        if step < warmup {
            return self.rate * (step + 1) as f32 / warmup as f32;
        }
        let share = (step - warmup) as f64 / (steps_max - warmup).max(1) as f64;
        let height = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        self.rate * height as f32
    }

    /// Errors: [`crate::error::Error::Model`] that names every setting out of its range.
    pub fn check(&self) -> Result<()> {
        let apart = self.contrast.as_ref().map_or(1.0, |contrast| contrast.weight);
        refuse(&[
            ("contrast", f64::from(apart), apart > 0.0 && apart.is_finite()),
            ("batch", self.batch as f64, self.batch > 0),
            ("rate", f64::from(self.rate), self.rate > 0.0 && self.rate.is_finite()),
            ("decay", f64::from(self.decay), self.decay >= 0.0 && self.decay.is_finite()),
            ("gradient_norm_max", f64::from(self.gradient_norm_max), self.gradient_norm_max >= 0.0),
            ("epochs_max", self.epochs_max as f64, self.epochs_max > 0),
            ("patience", self.patience as f64, self.patience > 0),
            ("threads", self.threads as f64, self.threads > 0),
        ])
    }
}
