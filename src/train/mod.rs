//! How do the networks learn? Mini-batch training whose bytes depend on the settings, the data and
//! the seed alone: not on threads, and not on how often it was stopped and resumed.

mod batch;
mod checkpoint;
pub mod contrast;
mod course;
mod device;
pub mod encoder;
mod fit;
mod order;
pub mod rank_net;
pub mod reranker;
mod settings;
mod step;
mod update;
mod validate;

pub use course::{Observer, Progress};
pub use device::{On, sequences_at_once};
pub use fit::{Trained, fit, fit_on};
pub use settings::{Loss, TrainSettings};
pub use validate::{Part, Quality, evaluate, evaluate_there, evaluation_bytes};
