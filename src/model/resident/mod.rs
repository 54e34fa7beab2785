//! What models on a device share: heads as kernels take them, weights with what is changed of them,
//! and parameters that are trained there.

mod heads;
mod multiplied;
mod parameters;
mod sections;
mod sites;

pub use heads::Heads;
pub use multiplied::{Given, Laid, Multiplied, Read, filled, unpacked};
pub use parameters::{Follow, Parameters, STATE, clear};
pub use sections::{Sections, TrainedPart, TrainedSite, counted};
pub use sites::{SiteBackward, SiteRoom};
