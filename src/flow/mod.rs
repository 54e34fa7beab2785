//! How does it move? The only module that names timely and differential-dataflow: a few operators,
//! and the graphs of the jobs. Read [`rerank`] and [`prepare`] first.

mod apply;
pub mod cluster;
pub mod commit;
mod core;
mod done;
pub mod embed;
pub mod label;
mod meter;
mod offload;
mod outlets;
pub mod prepare;
mod reach;
pub mod rendezvous;
pub mod rerank;
mod seal;
mod tasks;
mod walk;

pub use crate::stage::Meter;
pub use apply::apply;
pub use done::Done;
pub use meter::{ArmMeters, Meters};
pub use tasks::tasks;
pub use walk::Walks;

use crate::types::Epoch;

/// A stream of rows stamped with their epoch; within a loop with the hop, too.
pub type Flow<'s, D, T = Epoch> = timely::dataflow::StreamVec<'s, T, D>;
