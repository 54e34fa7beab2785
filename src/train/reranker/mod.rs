//! The training of a re-ranker: a decoder whose labels' logits put the candidates that meet more of
//! what was asked for above those that meet less.

mod device;
mod fit;
mod settings;
mod step;

pub use device::TOKENS;
pub use fit::{Example, Fitted, Measured, fit, fit_on};
pub use settings::{Contrast, RerankerSettings};
