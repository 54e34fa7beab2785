//! How do the networks learn? Mini-batch training whose bytes depend on the settings, the data and
//! the seed alone: not on threads, and not on how often it was stopped and resumed.

mod batch;
mod checkpoint;
mod fit;
mod settings;
mod step;
mod validate;

pub use fit::{Observer, Progress, Trained, fit};
pub use settings::{Loss, TrainSettings};
pub use validate::{Part, Quality, evaluate};
