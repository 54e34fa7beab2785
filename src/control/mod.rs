//! What did people ask for, and was it met?
//!
//! Owns the way of a control from the words somebody wrote ([`crate::types::Asked`]) to a test of
//! items ([`crate::types::Control`]): where controls come from, what they mean in this catalogue,
//! whether they can be met at all, and how a report words them.

mod bins;
mod conflict;
mod derive;
mod describe;
mod fill;
mod goal;
mod met;
mod postings;
pub mod request;
mod resolve;
mod table;

pub use bins::Bins;
pub use conflict::{ConflictIndex, conflict};
pub use derive::{oracle, sampled};
pub use describe::{describe, relation, wanted};
pub use fill::{Filled, Inferences, fill_in};
pub use goal::{Aims, Doubt, GOAL_CHARS_MAX, read_goal};
pub use met::{all_met, met, met_mask};
pub use postings::Postings;
pub use request::{Meaning, RequestSettings, Requests, with_popularity};
pub use resolve::{CONTROLS_MAX, Names, resolve};
pub use table::ControlTable;
