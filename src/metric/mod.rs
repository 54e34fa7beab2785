//! How good is it? Ranked rows in, exact sums out, and from the sums the figures that people read.
//!
//! ```text
//! Ranked rows ─Judge::add─► Tally (+ Exposure) ─merge─► Tally ─summarise─► Summary
//! ```
//!
//! - [`MetricPlan`] says what is measured; [`Judge`] measures it, one user at a time.
//! - A [`Tally`] holds integer sums alone (`sum`: the fixed point), so merging is associative and
//!   commutative: any grouping of the same rows gives the same bits.
//! - A metric is a mean over its own *panel* of users (`layout`): those with targets, those with
//!   controls, those whose controls were read off the target (`oracle-`), or everybody.
//! - One file a family: `ranking`, `control`, `diversity`, `fairness`, `exposure`, with the
//!   formulas.
//! - The intervals come from a Poisson bootstrap (`bootstrap`) that is part of the same sums.

mod agreement;
mod bootstrap;
mod control;
mod diversity;
mod estimate;
mod exposure;
mod fairness;
mod ild;
mod judge;
mod layout;
mod plan;
mod ranking;
mod request;
mod slices;
mod sum;
mod summary;
mod tally;

pub use agreement::{Agreement, Pair, auc, spearman};
pub use bootstrap::poisson_weights;

pub use estimate::summarise;
pub use exposure::{Exposure, ExposureRow};
pub use ild::Embeddings;
pub use judge::Judge;
pub use plan::{Distance, FairnessGroups, MetricPlan, Segment, Split, Threshold};
pub use summary::{ArmSummary, Estimate, SliceSummary, Summary};
pub use tally::Tally;
