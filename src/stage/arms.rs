//! Every arm over the same candidates: each a chain of steps, each step taking a list and giving
//! one.

use super::rerank::{Facts, Step, retrieval_order};
use super::token_control::{Memo, TokenControl};
use super::{Outcomes, Stage};
use crate::types::{ArmList, Candidates, Ranked, StageName};
use std::sync::Arc;

/// The job's arms, each a chain of methods.
pub struct Arms {
    /// One chain an arm; an empty chain is the order of retrieval.
    pub chains: Vec<Vec<Method>>,
    /// What steps may look at besides the row.
    pub facts: Facts,
}

/// A link of a chain: a list in, a list out.
#[derive(Clone)]
pub enum Method {
    /// A pure function of one row.
    Step(Step),
    /// A model, which takes many rows at once.
    TokenControl(TokenControl),
}

/// [`Candidates`] → [`Ranked`].
pub struct Rerank(pub Arc<Arms>);

impl Rerank {
    /// For each arm that begins with a model the prompt of a row, as people read it and as tokens.
    pub fn prompts(&self, row: &Candidates) -> Vec<(usize, String, Vec<u32>)> {
        let chains = self.0.chains.iter().enumerate();
        let firsts = chains.filter_map(|(arm, chain)| match chain.first()? {
            Method::TokenControl(method) => {
                let (text, tokens) = method.first_prompt(row, &retrieval_order(row)).ok()?;
                Some((arm, text, tokens))
            }
            Method::Step(_) => None,
        });
        firsts.collect()
    }
}

impl Arms {
    /// Every arm's list of each row. What decoders said is kept in `memo`.
    pub fn rank<T>(
        &self,
        rows: &[Candidates],
        memo: &mut Memo,
        out: &mut Outcomes<T>,
    ) -> Vec<Vec<ArmList>> {
        let mut ranked: Vec<Vec<ArmList>> = Vec::new();
        ranked.resize_with(rows.len(), || Vec::with_capacity(self.chains.len()));
        for chain in &self.chains {
            let mut lists: Vec<ArmList> = rows.iter().map(retrieval_order).collect();
            for method in chain {
                lists = match method {
                    Method::TokenControl(method) => method.apply(rows, lists, memo, out),
                    Method::Step(step) => {
                        let pairs = rows.iter().zip(lists);
                        pairs.map(|(row, list)| step.apply(row, list, &self.facts)).collect()
                    }
                };
            }
            ranked.iter_mut().zip(lists).for_each(|(arms, list)| arms.push(list));
        }
        ranked
    }
}

impl Stage for Rerank {
    type In = Candidates;
    type Out = Ranked;
    const NAME: StageName = StageName::Rerank;

    fn run(&mut self, rows: Vec<Candidates>, out: &mut Outcomes<Ranked>) {
        let ranked = self.0.rank(&rows, &mut Memo::default(), out);
        out.reserve(rows.len());
        for (candidates, arms) in rows.into_iter().zip(ranked) {
            out.ok(Ranked { candidates, arms });
        }
    }
}
