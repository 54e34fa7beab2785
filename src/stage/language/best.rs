//! The best of a whole catalogue by fused ranks, without sorting it.
//!
//! A rank is exact only when everything is sorted, and a sort moves each item many times. But only
//! the ranks of what may be among the K best have to be exact. So scores are counted in bins that
//! keep their order; a bin bounds the ranks of its items from both sides, and so their fused
//! scores. What may still be among the K best by these bounds is ranked exactly, by sorting the few
//! bins that it is in. Each score is read four times, whatever K is, and the result is that of
//! [`super::fuse::fused`] bit for bit.

use super::fuse::{Fusion, Share, key, mixed, shares};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bins of an order: few enough that the tables of both orders stay in a processor's second cache.
const BINS: usize = 4096;

/// An item among the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Its position.
    pub at: u32,
    /// The fused score.
    pub score: f64,
    /// How many items the base order has before it.
    pub before: u32,
}

/// The `k` best items by [`super::fuse::fused`], the best first; of equal ones the lower position.
///
/// Shapes: `base` and `control` (N).
/// Panics: if the lengths differ. No score is NaN.
pub fn best(base: &[f32], control: &[f32], fusion: Fusion, weight: f32, k: usize) -> Vec<Found> {
    assert_eq!(base.len(), control.len(), "two orders of the same items");
    let (items, weight) = (base.len(), f64::from(weight));
    if k == 0 || items == 0 {
        return Vec::new();
    }
    let (ours, theirs) = (Binned::of(base), Binned::of(control));
    let (our_share, their_share) = shares(fusion, weight, items);
    let candidates: Vec<u32> = match fusion {
        Fusion::Scores => by_score(base, control, weight, k),
        Fusion::Ranks | Fusion::Reciprocal => {
            by_bounds([&ours, &theirs], [&our_share, &their_share], k)
        }
    };
    let our_ranks = ours.exact(base, &candidates);
    let mut found: Vec<Found> = match fusion {
        Fusion::Scores => candidates
            .iter()
            .zip(&our_ranks)
            .map(|(&at, rank)| {
                let score = mixed(weight, base[at as usize], control[at as usize]);
                Found { at, score, before: rank.before }
            })
            .collect(),
        Fusion::Ranks | Fusion::Reciprocal => {
            let ranks = our_ranks.iter().zip(theirs.exact(control, &candidates));
            let score = |(our, their): (&Rank, Rank)| {
                our_share.at(our.doubled()) + their_share.at(their.doubled())
            };
            let ranked = candidates.iter().zip(ranks);
            ranked
                .map(|(&at, pair)| Found { at, before: pair.0.before, score: score(pair) })
                .collect()
        }
    };
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.at.cmp(&b.at)));
    found.truncate(k);
    found
}

/// What has at least the k-th greatest interpolated score.
fn by_score(base: &[f32], control: &[f32], weight: f64, k: usize) -> Vec<u32> {
    let mut bar = Bar::new(k);
    let mut kept = Vec::new();
    for (at, (b, c)) in (0..).zip(base.iter().zip(control)) {
        let score = mixed(weight, *b, *c);
        if score >= bar.at {
            bar.offer(score);
            kept.push((at, score));
        }
    }
    kept.retain(|(_, score)| *score >= bar.at);
    kept.into_iter().map(|(at, _)| at).collect()
}

/// What may be among the k best by the bounds of its bins.
fn by_bounds([ours, theirs]: [&Binned; 2], [our, their]: [&Share; 2], k: usize) -> Vec<u32> {
    let ([our_most, our_least], [their_most, their_least]) =
        (ours.bounds(our), theirs.bounds(their));
    let mut bar = Bar::new(k);
    let mut kept = Vec::new();
    for (at, (&p, &q)) in (0..).zip(ours.bins.iter().zip(&theirs.bins)) {
        let (p, q) = (usize::from(p), usize::from(q));
        let most = our_most[p] + their_most[q];
        if most >= bar.at {
            bar.offer(our_least[p] + their_least[q]);
            kept.push((at, most));
        }
    }
    kept.retain(|(_, most)| *most >= bar.at);
    kept.into_iter().map(|(at, _)| at).collect()
}

/// A score that k items are known to reach, or −∞ as long as there are fewer.
struct Bar {
    k: usize,
    at: f64,
    least: BinaryHeap<Reverse<u64>>,
}

impl Bar {
    fn new(k: usize) -> Bar {
        Bar { k, at: f64::NEG_INFINITY, least: BinaryHeap::with_capacity(k + 1) }
    }

    fn offer(&mut self, score: f64) {
        if self.least.len() == self.k && score <= self.at {
            return;
        }
        self.least.push(Reverse(wide_key(score)));
        if self.least.len() > self.k {
            self.least.pop();
        }
        if self.least.len() == self.k
            && let Some(Reverse(key)) = self.least.peek()
        {
            self.at = wide_score(*key);
        }
    }
}

/// Orders as the score does.
fn wide_key(score: f64) -> u64 {
    let bits = score.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The score of a [`wide_key`].
fn wide_score(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key ^ 1 << 63 } else { !key })
}

/// An order cut into bins, the best first.
struct Binned {
    /// The bin of each item.
    bins: Vec<u16>,
    /// How many items are in the bins before each; one more than there are bins.
    before: Vec<u32>,
}

/// Where an item stands in an order.
#[derive(Clone, Copy)]
struct Rank {
    /// How many are better.
    before: u32,
    /// How many are as good, itself included.
    equal: u32,
}

impl Rank {
    fn doubled(self) -> u32 {
        2 * self.before + self.equal + 1
    }
}

impl Binned {
    /// Cuts the range of the scores into equal bins: a better score is never in a later one, since
    /// a difference, a product and a cast are monotone in floating point.
    fn of(scores: &[f32]) -> Binned {
        let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let last = (BINS - 1) as f32;
        let scale = last / (most - least);
        // Equal scores, and a range beyond f32, are one bin.
        let scale = if scale.is_finite() { scale } else { 0.0 };
        let bin = |score: &f32| ((most - score) * scale).min(last) as u16;
        let bins: Vec<u16> = scores.iter().map(bin).collect();
        let mut before = vec![0u32; BINS + 1];
        bins.iter().for_each(|bin| before[usize::from(*bin) + 1] += 1);
        for bin in 0..BINS {
            before[bin + 1] += before[bin];
        }
        Binned { bins, before }
    }

    /// The most and the least that an order may be worth to the items of each bin.
    fn bounds(&self, share: &Share) -> [Vec<f64>; 2] {
        let most = self.before[..BINS].iter().map(|before| share.at(2 * before + 2)).collect();
        let least = self.before[1..].iter().map(|after| share.at(2 * after.max(&1))).collect();
        [most, least]
    }

    /// The exact ranks of some items: their bins alone are sorted.
    fn exact(&self, scores: &[f32], items: &[u32]) -> Vec<Rank> {
        let mut wanted = vec![false; BINS];
        items.iter().for_each(|at| wanted[usize::from(self.bins[*at as usize])] = true);
        // Where a wanted bin's scores begin among those of all wanted bins.
        let mut begin = vec![0u32; BINS];
        let mut count = 0;
        for bin in 0..BINS {
            begin[bin] = count;
            count += if wanted[bin] { self.before[bin + 1] - self.before[bin] } else { 0 };
        }
        let mut keys: Vec<u32> = Vec::with_capacity(count as usize);
        let here = self.bins.iter().zip(scores).filter(|(bin, _)| wanted[usize::from(**bin)]);
        keys.extend(here.map(|(_, score)| !key(*score))); // ascending: the best first
        keys.sort_unstable();
        let rank = |at: &u32| {
            let bin = usize::from(self.bins[*at as usize]);
            let key = !key(scores[*at as usize]);
            let first = keys.partition_point(|other| *other < key) as u32;
            let equal = keys[first as usize..].partition_point(|other| *other == key) as u32;
            Rank { before: self.before[bin] + (first - begin[bin]), equal }
        };
        items.iter().map(rank).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuse::{doubled_ranks, fused, order};
    use super::*;
    use crate::types::{mix64, normal};
    use proptest::prelude::*;

    /// By sorting everything.
    fn plain(base: &[f32], control: &[f32], fusion: Fusion, weight: f32, k: usize) -> Vec<Found> {
        let (scores, ranks) = (fused(base, control, fusion, weight), doubled_ranks(base));
        let before = |at: u32| {
            let better = |other: &&f32| **other > base[at as usize];
            base.iter().filter(better).count() as u32
        };
        assert_eq!(ranks.len(), scores.len());
        let first = order(&scores).into_iter().take(k);
        first.map(|at| Found { at, score: scores[at as usize], before: before(at) }).collect()
    }

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            seed: u64, items in 0usize..3000, k in 0usize..60, weight in 0.0f32..=1.0,
            distinct in 1u32..100_000, which in 0u8..3,
        ) {
            // Few distinct values make ties; normal ones make long tails.
            let draw = |stream: u64, at: usize| {
                let x = normal(mix64(seed ^ stream ^ mix64(at as u64))) as f32;
                (x * distinct as f32).round() / distinct as f32
            };
            let base: Vec<f32> = (0..items).map(|at| draw(1, at)).collect();
            let control: Vec<f32> = (0..items).map(|at| draw(2, at)).collect();
            let fusion = [Fusion::Ranks, Fusion::Scores, Fusion::Reciprocal][usize::from(which)];
            for weight in [0.0, weight, 1.0] {
                let found = best(&base, &control, fusion, weight, k);
                prop_assert_eq!(found, plain(&base, &control, fusion, weight, k));
            }
        }
    }

    #[test]
    fn extreme_scores_are_ordered_all_the_same() {
        let base = [f32::MAX, f32::MIN, 0.0, -0.0, 1e-45, -1e-45, f32::MAX];
        let control = [1.0f32; 7];
        for fusion in [Fusion::Ranks, Fusion::Scores, Fusion::Reciprocal] {
            for weight in [0.0, 0.5, 1.0] {
                let found = best(&base, &control, fusion, weight, 7);
                assert_eq!(found, plain(&base, &control, fusion, weight, 7));
            }
        }
    }
}
