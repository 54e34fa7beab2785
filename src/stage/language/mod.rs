//! Language control: a request in somebody's own words, and every item, as vectors; the order of
//! their products fused with that of the base recommender.
//!
//! v(user, request, item) = ⟨f(user, request), g(item)⟩. f reads the request and what the user did;
//! g(item) was computed for the whole catalogue beforehand.
//!
//! Source: CTRL-Rec (arXiv 2510.12742).

mod best;
mod control;
mod fuse;
mod reach;

pub use best::{Found, best};
pub use control::{LanguageControl, Said, Speaker};
pub use fuse::{Fusion, doubled_ranks, fused, order};
pub use reach::{Answer, PoseQuestions, Posed, Question, Reacher, Search};
