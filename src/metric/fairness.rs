//! Do two groups of items get the same places? MAD, the mean absolute difference of rank scores.
//!
//! A list of N items gives place j (from 1) the score 1 − (j − 1)/(N − 1), and 1 if N = 1. Items
//! whose group is unknown keep their place and count in neither group.
//!
//! ```text
//! mad-user   = mean over users whose list has both groups of | s₀/n₀ − s₁/n₁ |
//! mad-pooled = | Σ_u s₀/N_u ÷ Σ_u n₀/N_u  −  Σ_u s₁/N_u ÷ Σ_u n₁/N_u |
//! ```
//!
//! with s_g the sum of the scores and n_g the number of group g's items in user u's list: the
//! difference between the groups' mean scores over all users' items, where each user weighs the
//! same (for lists of one length, simply over all items).
//!
//! Source: LLM4Rerank (arXiv 2406.12433) has the pooled form; it leaves the endpoints open. This is
//! not Elliot's ItemMADranking, which compares gains per recommendation between clusters of items.

use super::layout::Column;
use super::plan::{FairnessGroups, Split};
use super::sum::{ONE, fixed};
use crate::types::{Catalogue, ItemId};
use std::sync::Arc;

/// Measures MAD.
#[derive(Clone)]
pub(super) struct Fairness {
    /// Each item's group: 0, 1, or 2 for neither.
    group: Arc<[u8]>,
}

/// One list's sums, by group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupSums {
    places: usize,
    scores: [f64; 3],
    counts: [f64; 3],
}

impl Fairness {
    /// Divides the catalogue.
    pub(super) fn new(groups: &FairnessGroups, catalogue: &Catalogue) -> Self {
        let attribute = &catalogue.attributes[groups.attribute];
        let group_of = |item: ItemId| {
            let first = match &groups.first {
                Split::Below(bound) => {
                    let number = attribute.number(item);
                    (!number.is_nan()).then_some(number < *bound)
                }
                Split::Labels(wanted) => {
                    let codes = attribute.codes(item);
                    (!codes.is_empty()).then(|| codes.iter().any(|code| wanted.contains(code)))
                }
            };
            first.map_or(2, |first| u8::from(!first))
        };
        Fairness { group: (0..catalogue.len() as ItemId).map(group_of).collect() }
    }

    /// The terms of `mad-pooled`, for every user: s₀/N, n₀/N, s₁/N, n₁/N.
    pub(super) fn pooled_columns() -> Vec<Column> {
        vec![Column::new("", ONE); 4]
    }

    /// The column of users who have both groups.
    pub(super) fn user_columns() -> Vec<Column> {
        vec![Column::new("mad-user", ONE)]
    }

    /// Sums one list.
    pub(super) fn sums(&self, items: impl ExactSizeIterator<Item = ItemId>) -> GroupSums {
        let mut sums = GroupSums { places: items.len(), ..GroupSums::default() };
        let step = 1.0 / (items.len().max(2) - 1) as f64;
        for (j, item) in items.enumerate() {
            let group = usize::from(self.group[item as usize]);
            sums.scores[group] += 1.0 - j as f64 * step;
            sums.counts[group] += 1.0;
        }
        sums
    }
}

impl GroupSums {
    /// In the order of [`Fairness::pooled_columns`].
    pub(super) fn measure_pooled(&self, out: &mut Vec<u32>) {
        let each = 1.0 / self.places.max(1) as f64;
        for g in 0..2 {
            out.push(fixed(self.scores[g] * each, ONE));
            out.push(fixed(self.counts[g] * each, ONE));
        }
    }

    /// The user's own difference, if the list has both groups.
    pub(super) fn difference(&self) -> Option<u32> {
        let both = self.counts[0] > 0.0 && self.counts[1] > 0.0;
        let mean = |g: usize| self.scores[g] / self.counts[g];
        both.then(|| fixed((mean(0) - mean(1)).abs(), ONE))
    }
}
