//! Two orders of the same items made one.
//!
//! Formula: with the mean rank r(i) = 1 + #{j: s(j) > s(i)} + (#{j: s(j) = s(i)} − 1) / 2 of item i
//! among N, the normalised rank is ρ(i) = 1 − (r(i) − 1) / (N − 1), and
//!
//! - ranks: S = (1 − w) · ρ_base + w · ρ_control;
//! - reciprocal: S = (1 − w) / (60 + r_base) + w / (60 + r_control);
//! - scores: S = (1 − w) · s_base + w · s_control.
//!
//! Equal S are ordered by the item's position, the lower first. So w = 0 gives the base order and
//! w = 1 the control order, whatever the scores' scales, and both exactly.
//!
//! Source: CTRL-Rec (arXiv 2510.12742) interpolates ranks, which do not depend on scales; its
//! formula is not published, and this convex form is ours. Cormack, Clarke and Büttcher, Reciprocal
//! Rank Fusion (2009), with weights.

use std::cmp::Reverse;

/// Rank at which a reciprocal rank has lost half of its weight.
const RECIPROCAL: f64 = 60.0;

/// How two orders become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Interpolates normalised ranks.
    Ranks,
    /// Interpolates the scores as they are.
    Scores,
    /// Adds weighted reciprocal ranks.
    Reciprocal,
}

/// What an order is worth at a rank: the term of one order in the fused score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    fusion: Fusion,
    weight: f64,
    items: usize,
}

impl Share {
    /// Of an order over so many items.
    pub(super) fn new(fusion: Fusion, weight: f64, items: usize) -> Share {
        Share { fusion, weight, items }
    }

    /// By twice the mean rank, from 2. Never rises with the rank: every operation in it is monotone
    /// in floating point, too.
    pub(super) fn at(&self, doubled: u32) -> f64 {
        let rank = f64::from(doubled) / 2.0;
        let worth = match self.fusion {
            Fusion::Reciprocal => 1.0 / (RECIPROCAL + rank),
            Fusion::Ranks | Fusion::Scores if self.items < 2 => 1.0,
            Fusion::Ranks | Fusion::Scores => 1.0 - (rank - 1.0) / (self.items - 1) as f64,
        };
        self.weight * worth
    }
}

/// The fused scores of all items; the control's share is `weight`, 0 to 1.
///
/// Shapes: `base` and `control` (N).
/// Panics: if the lengths differ. No score is NaN.
pub fn fused(base: &[f32], control: &[f32], fusion: Fusion, weight: f32) -> Vec<f64> {
    assert_eq!(base.len(), control.len(), "two orders of the same items");
    let weight = f64::from(weight);
    if fusion == Fusion::Scores {
        let pairs = base.iter().zip(control);
        return pairs.map(|(b, c)| mixed(weight, *b, *c)).collect();
    }
    let (ours, theirs) = shares(fusion, weight, base.len());
    let ranks = doubled_ranks(base).into_iter().zip(doubled_ranks(control));
    ranks.map(|(b, c)| ours.at(b) + theirs.at(c)).collect()
}

/// (1 − w) · base + w · control.
pub(super) fn mixed(weight: f64, base: f32, control: f32) -> f64 {
    (1.0 - weight) * f64::from(base) + weight * f64::from(control)
}

/// The terms of the base order and of the control order.
pub(super) fn shares(fusion: Fusion, weight: f64, items: usize) -> (Share, Share) {
    (Share::new(fusion, 1.0 - weight, items), Share::new(fusion, weight, items))
}

/// Positions by score, the best first; of equal ones the lower position first.
pub fn order(scores: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_unstable_by(|a, b| {
        scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b))
    });
    order
}

/// Twice the mean rank of each score, from 2 for the best alone.
pub fn doubled_ranks(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<(u32, u32)> = (0..).zip(scores).map(|(at, s)| (key(*s), at)).collect();
    order.sort_unstable_by_key(|(key, _)| Reverse(*key));
    let mut ranks = vec![0; scores.len()];
    let mut better = 0u32;
    for equals in order.chunk_by(|a, b| a.0 == b.0) {
        let count = equals.len() as u32;
        equals.iter().for_each(|(_, at)| ranks[*at as usize] = 2 * better + count + 1);
        better += count;
    }
    ranks
}

/// A number that orders as the score does; 0 and −0 are the same score.
#[inline]
pub(super) fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_means_over_equal_scores() {
        assert_eq!(doubled_ranks(&[0.5, 2.0, 0.5, -1.0]), [5, 2, 5, 8]);
        assert_eq!(doubled_ranks(&[0.0, -0.0]), [3, 3]);
        assert_eq!(doubled_ranks(&[]), [0; 0]);
        assert_eq!(doubled_ranks(&[f32::MIN, f32::MAX, f32::MIN_POSITIVE, -1e-30]), [8, 2, 4, 6]);
    }

    #[test]
    fn formulas_by_hand() {
        let (base, control) = ([3.0, 2.0, 1.0], [0.1, 0.3, 0.2]);
        let ranks = fused(&base, &control, Fusion::Ranks, 0.25);
        assert_eq!(ranks, [0.75, 0.375 + 0.25, 0.125]);
        let scores = fused(&base, &control, Fusion::Scores, 0.5);
        assert_eq!(scores[0], 1.5 + 0.5 * f64::from(0.1f32));
        let reciprocal = fused(&base, &control, Fusion::Reciprocal, 0.5);
        assert_eq!(reciprocal[1], 0.5 / 62.0 + 0.5 / 61.0);
        assert_eq!(order(&ranks), [0, 1, 2]);
        assert_eq!(fused(&[7.0], &[1.0], Fusion::Ranks, 0.5), [1.0]);
    }
}
