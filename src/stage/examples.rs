//! What a re-ranker learns from: a person at a moment, the candidates of that moment, something to
//! ask for, and how good each candidate then is.
//!
//! Relevance r of a candidate: how many of the controls it meets, plus 1 if it is what came next.
//! Moments whose next item was not retrieved teach the controls alone.
//!
//! Source: COREC (2025), §1.2 and §1.5 of its released code; what is drawn for whom is ours.

use super::prompt::Prompter;
use super::token_control::permuted;
use crate::control::{met_mask, oracle, sampled};
use crate::spec::{ExampleControls, ExampleWording};
use crate::types::{
    Candidates, Catalogue, Control, FaultKind, ItemId, Query, Relation, Sequence, mix64,
};
use std::sync::Arc;

/// How examples are made.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleSettings {
    /// Moments of each person, the latest before the test part.
    pub windows: usize,
    /// Where controls come from, in turns.
    pub schemes: Vec<ExampleControls>,
    /// How controls ask, drawn for each.
    pub wordings: Vec<ExampleWording>,
    /// How often something is asked at a moment: the candidates are the same, in the same order.
    pub questions: usize,
    /// An example has 1 to this many controls.
    pub controls_max: usize,
    /// Whether controls count.
    pub control_scores: bool,
    /// What is drawn is drawn by this and the user.
    pub seed: u64,
}

/// An example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// The prompt.
    pub tokens: Vec<u32>,
    /// r of each candidate, in the order of the labels.
    pub relevance: Vec<f32>,
    /// The retriever's score of each candidate.
    pub retrieval: Vec<f32>,
    /// The label of what came next, if it was retrieved.
    pub target: Option<u32>,
}

/// The moments of a person as queries. A moment's number, 0 for the latest, is its origin's row.
pub fn moments(sequence: &Sequence, windows: usize) -> Vec<Query> {
    let before_test = (sequence.train + sequence.valid) as usize;
    let places = (1..before_test).rev().take(windows).enumerate();
    let query = |(number, at): (usize, usize)| {
        let mut query = Query {
            user: sequence.user.clone(),
            history: sequence.items[..at].to_vec(),
            targets: vec![sequence.items[at]],
            ..Query::default()
        };
        query.origin.row = number as u32;
        query
    };
    places.map(query).collect()
}

/// Makes examples of what was retrieved.
pub struct Examples {
    /// The items.
    pub catalogue: Arc<Catalogue>,
    /// Makes the prompts.
    pub prompter: Prompter,
    /// How.
    pub settings: ExampleSettings,
}

impl Examples {
    /// The examples of a moment, without repeats.
    ///
    /// Errors: a prompt that cannot be made.
    pub fn examples(&self, row: &Candidates) -> Result<Vec<Example>, FaultKind> {
        let Query { user, origin, targets, .. } = &row.query;
        let draw = mix64(self.settings.seed ^ mix64(user.hash64() ^ u64::from(origin.row)));
        let count = row.items.len().min(self.prompter.settings().candidates_max);
        let shown = permuted(count, mix64(draw ^ 1));
        let mut asked: Vec<Vec<Control>> = Vec::new();
        for question in 0..self.settings.questions as u64 {
            let draw = mix64(draw ^ question << 32);
            let controls = self.controls(&row.items[..count], targets.first().copied(), draw);
            if !asked.contains(&controls) {
                asked.push(controls);
            }
        }
        asked.iter().map(|controls| self.example(row, &shown, controls)).collect()
    }

    fn example(
        &self,
        row: &Candidates,
        shown: &[u32],
        controls: &[Control],
    ) -> Result<Example, FaultKind> {
        let target = row.query.targets.first().copied();
        let items: Vec<ItemId> = shown.iter().map(|at| row.items[*at as usize]).collect();
        let prompt = self.prompter.prompt(&row.query.history, controls, &items)?;
        let relevance = |item: &ItemId| {
            let met = met_mask(&self.catalogue, controls, *item).count_ones() as f32;
            let bonus = f32::from(Some(*item) == target);
            if self.settings.control_scores { met + bonus } else { bonus }
        };
        Ok(Example {
            tokens: prompt.tokens,
            relevance: items.iter().map(relevance).collect(),
            retrieval: shown.iter().map(|at| row.scores[*at as usize]).collect(),
            target: items.iter().position(|i| Some(*i) == target).map(|at| at as u32),
        })
    }

    /// 1 to `controls_max` controls about attributes that are drawn.
    pub fn controls(&self, items: &[ItemId], target: Option<ItemId>, draw: u64) -> Vec<Control> {
        let attributes = &self.prompter.settings().attributes;
        let most = self.settings.controls_max.min(attributes.len()) as u64;
        let wanted = 1 + mix64(draw ^ 2) % most.max(1);
        let drawn = permuted(attributes.len(), mix64(draw ^ 3));
        let drawn: Vec<usize> =
            drawn.iter().take(wanted as usize).map(|at| attributes[*at as usize]).collect();
        let turn = mix64(draw ^ 4) % self.settings.schemes.len().max(1) as u64;
        let oracle_of = match self.settings.schemes.get(turn as usize) {
            Some(ExampleControls::Oracle) => target,
            _ => None,
        };
        let controls = match oracle_of {
            Some(target) => oracle(&self.catalogue, &drawn, target),
            None => sampled(&self.catalogue, &drawn, items, draw, self.settings.seed),
        };
        let worded = |c: Control| self.worded(c, items, oracle_of.is_some(), mix64(draw ^ 5));
        controls.into_iter().map(worded).collect()
    }

    /// The control in one of the wordings; what it was read off meets it, but for `Not`.
    fn worded(&self, asked: Control, items: &[ItemId], oracle: bool, draw: u64) -> Control {
        let draw = mix64(draw ^ u64::from(asked.attribute));
        let wordings = &self.settings.wordings;
        let bounded = |asked: Control, relation| {
            let bins = &self.prompter.bins()[usize::from(asked.attribute)];
            match bins.bound(relation, &asked.codes) {
                Some(bound) => Control { relation, bound, codes: Vec::new(), ..asked },
                None => asked,
            }
        };
        match wordings.get((draw % wordings.len().max(1) as u64) as usize) {
            Some(ExampleWording::Either) => {
                let place = [usize::from(asked.attribute)];
                let other = sampled(&self.catalogue, &place, items, draw, !self.settings.seed);
                let others = other.into_iter().flat_map(|other| other.codes);
                let mut codes: Vec<u32> = asked.codes.iter().copied().chain(others).collect();
                codes.sort_unstable();
                codes.dedup();
                Control { codes, ..asked }
            }
            Some(ExampleWording::Not) if !oracle => Control { relation: Relation::Not, ..asked },
            Some(ExampleWording::AtMost) => bounded(asked, Relation::AtMost),
            Some(ExampleWording::AtLeast) => bounded(asked, Relation::AtLeast),
            Some(ExampleWording::Is | ExampleWording::Not) | None => asked,
        }
    }
}
