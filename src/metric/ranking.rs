//! Were the held-out items found, and how high? Full ranking over the arm's list; binary gains.
//!
//! For a user with targets T (any number; a target outside the list is at no place), r the place of
//! a target from 1, and r₁ the best of them; each figure is the mean over users with targets:
//!
//! ```text
//! hit@k    = 1 if r₁ ≤ k, else 0
//! recall@k = #{t ∈ T: r_t ≤ k} / |T|
//! mrr@k    = 1 / r₁ if r₁ ≤ k, else 0
//! ndcg@k   = Σ_{t: r_t ≤ k} 1/log₂(r_t + 1)  /  Σ_{j = 1..min(|T|, k)} 1/log₂(j + 1)
//! retrieval-ceiling = #{t ∈ T: t is a candidate} / |T|     (no order can do better)
//! ```
//!
//! Source: Järvelin and Kekäläinen 2002 for NDCG; the others are as in RecBole's full-ranking mode.

use super::layout::Column;
use super::sum::{ONE, fixed};

/// 1/log₂(place + 1) of the first `places` places.
pub(super) fn discounts(places: usize) -> Vec<f64> {
    (0..places).map(|j| 1.0 / (j as f64 + 2.0).log2()).collect()
}

/// Measures accuracy.
#[derive(Clone)]
pub(super) struct Ranking {
    cutoffs: Vec<usize>,
    discounts: Vec<f64>,
    /// `ideal_inverse[n]`: 1 over the DCG of n targets at the first n places.
    ideal_inverse: Vec<f64>,
}

impl Ranking {
    /// For these cutoffs.
    pub(super) fn new(cutoffs: &[usize]) -> Self {
        let discounts = discounts(cutoffs.last().copied().unwrap_or(0));
        let mut ideal = 0.0;
        let ideals = discounts.iter().map(|d| {
            ideal += d;
            1.0 / ideal
        });
        let ideal_inverse = std::iter::once(0.0).chain(ideals).collect();
        Ranking { cutoffs: cutoffs.to_vec(), discounts, ideal_inverse }
    }

    /// What depends on the candidates alone.
    pub(super) fn pool_columns() -> Vec<Column> {
        vec![Column::new("retrieval-ceiling", ONE)]
    }

    /// The columns in the order of [`Ranking::measure`].
    pub(super) fn columns(cutoffs: &[usize]) -> Vec<Column> {
        Column::at_each("hit", cutoffs, |_| 1)
            .chain(Column::at_each("ndcg", cutoffs, |_| ONE))
            .chain(Column::at_each("mrr", cutoffs, |_| ONE))
            .chain(Column::at_each("recall", cutoffs, |_| ONE))
            .collect()
    }

    /// The share of the targets that are among the candidates.
    pub(super) fn measure_pool(&self, found: usize, targets: usize, out: &mut Vec<u32>) {
        out.push(fixed(found as f64 / targets as f64, ONE));
    }

    /// `places`: where the list has targets, from 0, ascending. `targets`: how many there are.
    pub(super) fn measure(&self, places: &[u32], targets: usize, out: &mut Vec<u32>) {
        let cuts = self.cutoffs.len();
        let start = out.len();
        out.resize(start + 4 * cuts, 0);
        let Some(&best) = places.first() else { return };
        let values = &mut out[start..];
        let (mut at, mut gain) = (0, 0.0);
        for (c, &k) in self.cutoffs.iter().enumerate() {
            while at < places.len() && (places[at] as usize) < k {
                gain += self.discounts[places[at] as usize];
                at += 1;
            }
            if at == 0 {
                continue;
            }
            values[c] = 1;
            values[cuts + c] = fixed(gain * self.ideal_inverse[targets.min(k)], ONE);
            values[2 * cuts + c] = fixed(1.0 / (f64::from(best) + 1.0), ONE);
            values[3 * cuts + c] = fixed(at as f64 / targets as f64, ONE);
        }
    }
}
