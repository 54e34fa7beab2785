//! Every arm over the same candidates: each a chain of steps, each step taking a list and giving
//! one.

use super::rerank::{Facts, Step, retrieval_order};
use super::{Outcomes, Stage};
use crate::types::{Candidates, Ranked, StageName};
use std::sync::Arc;

/// The job's arms, each a chain of steps.
pub struct Arms {
    /// One chain an arm; an empty chain is the order of retrieval.
    pub chains: Vec<Vec<Step>>,
    /// What steps may look at besides the row.
    pub facts: Facts,
}

/// [`Candidates`] → [`Ranked`].
pub struct Rerank(pub Arc<Arms>);

impl Stage for Rerank {
    type In = Candidates;
    type Out = Ranked;
    const NAME: StageName = StageName::Rerank;

    fn run(&mut self, rows: Vec<Candidates>, out: &mut Outcomes<Ranked>) {
        let Arms { chains, facts } = &*self.0;
        for candidates in rows {
            let arms = chains.iter().map(|chain| {
                let start = retrieval_order(&candidates);
                chain.iter().fold(start, |list, step| step.apply(&candidates, list, facts))
            });
            let arms = arms.collect();
            out.ok(Ranked { candidates, arms });
        }
    }
}
