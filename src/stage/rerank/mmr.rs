//! Maximal marginal relevance: the next item is relevant and unlike those above it.

use super::facts::Facts;
use super::relevance::{best, chosen_first, normalised};
use super::similarity::Similarity;
use crate::error::{Error, Result};
use crate::types::{ArmList, Candidates};

/// The parameters of [`mmr`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mmr {
    /// λ, the weight of relevance against redundancy, in [0, 1]; at 1 the order stays.
    pub lambda: f32,
    /// How alike two items are.
    pub similarity: Similarity,
    /// How many places are chosen so; the other items follow in the order they had.
    pub depth: usize,
}

impl Mmr {
    pub(super) fn check(&self, facts: &Facts) -> Result<()> {
        if !(0.0..=1.0).contains(&self.lambda) {
            return Err(Error::Input(format!(
                "mmr: expected a lambda from 0 to 1, found {}",
                self.lambda
            )));
        }
        self.similarity.check(facts)
    }
}

/// Fills the first `depth` places greedily.
///
/// Formula: argmax over the items i left of λ·r(i) − (1−λ)·max(0, max over the items j chosen of
/// sim(i, j)), with r the relevance mapped to [0, 1]. A similarity below 0 counts as 0: to be
/// unrelated is as good as to be opposed, and the scores can only fall.
/// Cost: depth × K similarities.
/// Source: Carbonell and Goldstein, SIGIR 1998.
#[expect(clippy::needless_pass_by_value, reason = "a step takes a list and gives a list")]
pub fn mmr(step: &Mmr, row: &Candidates, list: ArmList, facts: &Facts) -> ArmList {
    let space = step.similarity.of(facts);
    let item = |place: usize| row.items[list.order[place] as usize];
    let relevance = normalised(&list.scores);
    let mut nearest = vec![0f32; list.order.len()];
    let mut left: Vec<usize> = (0..list.order.len()).collect(); // ascending: ties go to the earlier
    let mut chosen = Vec::with_capacity(step.depth.min(left.len()));
    while chosen.len() < step.depth {
        let value =
            |&place: &usize| step.lambda * relevance[place] - (1.0 - step.lambda) * nearest[place];
        let Some((at, score)) = best(left.iter().map(value).enumerate()) else { break };
        let taken = left.remove(at);
        chosen.push((taken, score));
        for &place in &left {
            nearest[place] = nearest[place].max(space.between(item(taken), item(place)));
        }
    }
    chosen_first(&list, &relevance, &chosen)
}
