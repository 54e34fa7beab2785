//! The training of a text encoder: requests come to lie near the items that a judge found to be
//! what was asked for.

mod calibrate;
mod device;
mod fit;
mod lessons;
mod loss;
mod settings;
mod step;

pub use fit::{Examine, Fitted, TOKENS, fit, fit_on};
pub use lessons::Lesson;
pub use settings::{EncoderLoss, EncoderSettings, Schedule};
pub use step::gradient;
