//! The arms' models, each loaded once however many arms use it.

use super::Opened;
use crate::error::Result;
use crate::spec::RerankSpec;
use crate::stage::token_control::Scorer;
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

    /// The model that a re-ranker's job made, `learned` or as it was before, and the weight that
    /// was fitted for it.
    ///
    /// Errors: a model that cannot be loaded.
    pub fn scorer(&mut self, reranker: &str, learned: bool) -> Result<(Arc<Scorer>, f32)> {
        let at = self.spec.rerankers().iter().position(|name| *name == reranker);
        let at = at.expect("the list of re-rankers is made of the steps");
        let trained = &self.opened.rerankers[at];
        let weight = trained.facts.weight();
        let there = self.loaded.iter().find(|(a, l, _)| (*a, *l) == (at, learned));
        if let Some((.., scorer)) = there {
            return Ok((Arc::clone(scorer), weight));
        }
        let devices = self.opened.devices(self.spec)?;
        let (catalogue, tokens_max) =
            (&self.opened.prepared.catalogue, self.spec.device_tokens_max);
        let scorer = Arc::new(trained.scorer(catalogue, learned, devices, tokens_max)?);
        self.loaded.push((at, learned, Arc::clone(&scorer)));
        Ok((scorer, weight))
    }
}
