//! The arms' models, each loaded once however many arms use it.

use super::Opened;
use crate::error::Result;
use crate::spec::{RerankSpec, StepSpec};
use crate::stage::arms::Method;
use crate::stage::token_control::{Scorer, TokenControl};
use std::sync::Arc;

/// What is loaded so far.
pub struct Models<'a> {
    spec: &'a RerankSpec,
    opened: &'a Opened,
    /// By the re-ranker's position, and whether with what it learned.
    loaded: Vec<(usize, bool, Arc<Scorer>)>,
}

impl<'a> Models<'a> {
    /// Nothing yet.
    pub fn new(spec: &'a RerankSpec, opened: &'a Opened) -> Models<'a> {
        Models { spec, opened, loaded: Vec::new() }
    }

    /// The method of a step that needs a model; none of one that does not.
    ///
    /// Errors: a model that cannot be loaded.
    pub fn method(&mut self, step: &StepSpec) -> Result<Option<Method>> {
        let StepSpec::TokenControl { reranker, weight, permutations, adapter, seed } = step else {
            return Ok(None);
        };
        let at = self.spec.rerankers().iter().position(|name| name == reranker);
        let at = at.expect("the list of re-rankers is made of the steps");
        let fitted = self.opened.rerankers[at].facts.weight;
        Ok(Some(Method::TokenControl(TokenControl {
            scorer: self.scorer(at, *adapter)?,
            weight: weight.unwrap_or(fitted),
            permutations: *permutations,
            seed: *seed,
        })))
    }

    fn scorer(&mut self, at: usize, learned: bool) -> Result<Arc<Scorer>> {
        let there = self.loaded.iter().find(|(a, l, _)| (*a, *l) == (at, learned));
        if let Some((.., scorer)) = there {
            return Ok(Arc::clone(scorer));
        }
        let catalogue = &self.opened.prepared.catalogue;
        let scorer = Arc::new(self.opened.rerankers[at].scorer(catalogue, learned)?);
        self.loaded.push((at, learned, Arc::clone(&scorer)));
        Ok(scorer)
    }
}
