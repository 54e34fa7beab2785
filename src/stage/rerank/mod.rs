//! The baselines: re-ranking without a model, as pure functions of one row.
//!
//! An arm is a chain of [`Step`]s. Each takes a list and gives a list: a permutation of what it
//! was given, or a part of it, never a repeat. No step knows of another row, so that batches and
//! workers cannot change what anybody gets. Where two places are equal, the earlier one wins.
//!
//! A step's scores never rise along its list if those it was given did not, so that the next step
//! can take them as the relevance to trade against.

mod dpp;
mod facts;
mod fair_swap;
mod hard_filter;
mod mmr;
mod quota;
mod relevance;
mod retrieval_order;
mod similarity;

pub use dpp::{Dpp, dpp};
pub use facts::{Embeddings, Facts};
pub use fair_swap::{FairSwap, fair_swap, gap};
pub use hard_filter::{HardFilter, hard_filter};
pub use mmr::{Mmr, mmr};
pub use quota::{Quotas, quota};
pub(super) use relevance::{best, chosen_first, normalised};
pub use retrieval_order::retrieval_order;
pub use similarity::Similarity;

use crate::error::Result;
use crate::types::{ArmList, Candidates};

/// One step of an arm.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Back to the retriever's order.
    RetrievalOrder,
    /// Items that meet the controls first, or only.
    HardFilter(HardFilter),
    /// Relevance against redundancy, item by item.
    Mmr(Mmr),
    /// The most probable diverse set, item by item.
    Dpp(Dpp),
    /// The same rank for two groups of items, on average.
    FairSwap(FairSwap),
    /// Shares of the list as a whole.
    Quota(Quotas),
}

impl Step {
    /// Whether the step can be applied with these facts.
    ///
    /// Errors: a parameter out of its range, an attribute that the catalogue lacks, or item
    /// embeddings that are needed and not there.
    pub fn check(&self, facts: &Facts) -> Result<()> {
        match self {
            Step::RetrievalOrder | Step::HardFilter(_) => Ok(()),
            Step::Mmr(mmr) => mmr.check(facts),
            Step::Dpp(dpp) => dpp.check(facts),
            Step::FairSwap(swap) => swap.check(facts),
            Step::Quota(quotas) => quotas.check(facts),
        }
    }

    /// The step's list, made from the list of the step before (the first step's is
    /// [`retrieval_order`]).
    ///
    /// Panics: if [`Step::check`] refuses the facts, or the list is none of the row's.
    pub fn apply(&self, row: &Candidates, list: ArmList, facts: &Facts) -> ArmList {
        match self {
            Step::RetrievalOrder => retrieval_order(row),
            Step::HardFilter(mode) => hard_filter(*mode, row, list),
            Step::Mmr(step) => mmr(step, row, list, facts),
            Step::Dpp(step) => dpp(step, row, list, facts),
            Step::FairSwap(step) => fair_swap(step, row, list, facts),
            Step::Quota(step) => quota(step, row, list, facts),
        }
    }
}
