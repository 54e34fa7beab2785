//! What models on a device share: heads as kernels take them, weights with what is changed of them,
//! and parameters that are trained there.

mod heads;
mod multiplied;
mod norms;
mod parameters;
mod sections;
mod sites;

pub use crate::device::cuda::kernels::filled;
pub use heads::Heads;
pub use multiplied::{Given, Laid, Multiplied, Read, unpacked};
pub use norms::{NormParts, Normed};
pub use parameters::{Follow, Parameters, STATE, clear, rounded};
pub use sections::{Sections, TrainedLayer, TrainedPart, TrainedSite, counted};
pub use sites::{SiteBackward, SiteRoom};
