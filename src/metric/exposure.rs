//! Which items are shown, and how known are they already?
//!
//! With x_i the number of lists that show item i in their first k places, N items in the catalogue,
//! and x ascending in i = 1..N:
//!
//! ```text
//! coverage@k = #{i: x_i > 0} / N
//! gini@k     = Σ_i (2i − N − 1)·x_i / (N·Σ_i x_i)     0: all alike; (N − 1)/N: one has all
//! novelty@k  = mean over users of mean_{j ≤ k} −log₂(p_j / P)
//! ```
//!
//! with p the item's interactions in the training part (at least 1) and P those of all items; the
//! inner mean is over the places that the list has, 0 if it has none; bits.
//!
//! Source: Gini as in Castells et al. 2022; novelty is their mean self-information.

use super::layout::Column;
use super::sum::fixed;
use crate::types::{Catalogue, ItemId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Self-information in bits: up to 64 of them stay far below the largest value.
const NOVELTY_UNIT: u32 = 1 << 16;

/// How often each arm shows each item. Merged by addition, as a [`super::Tally`] is, but kept
/// apart: its size grows with the catalogue. In memory dense; [`Exposure::rows`] are what to store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<ExposureRow>", into = "Vec<ExposureRow>")]
pub struct Exposure {
    /// By arm, then \[item × cutoffs\]: lists with the item after the previous cutoff and before
    /// this one.
    arms: Vec<Vec<u64>>,
    cutoffs: usize,
}

/// One count of an [`Exposure`], not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExposureRow {
    /// The arm's index.
    pub arm: u16,
    /// Which item.
    pub item: ItemId,
    /// Index of the first cutoff that reaches the item's place.
    pub cutoff: u16,
    /// In how many lists.
    pub count: u64,
}

impl Exposure {
    /// The counts of one arm, at least `len` long.
    pub(super) fn arm(&mut self, arm: usize, cutoffs: usize, len: usize) -> &mut [u64] {
        self.widen(cutoffs);
        if self.arms.len() <= arm {
            self.arms.resize_with(arm + 1, Vec::new);
        }
        let counts = &mut self.arms[arm];
        if counts.is_empty() {
            *counts = vec![0; len]; // calloc: pages that no list touches stay away
        } else if counts.len() < len {
            counts.resize(len, 0);
        }
        counts
    }

    /// Whether nothing was shown.
    pub fn is_empty(&self) -> bool {
        self.arms.iter().flatten().all(|&count| count == 0)
    }

    /// Adds another part's counts.
    pub fn merge(&mut self, other: &Exposure) {
        if other.cutoffs != self.cutoffs {
            return other.rows().for_each(|row| self.add(row));
        }
        for (arm, theirs) in other.arms.iter().enumerate() {
            let ours = self.arm(arm, other.cutoffs, theirs.len());
            ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
    }

    /// Adds one row of [`Exposure::rows`].
    pub fn add(&mut self, row: ExposureRow) {
        let cutoff = usize::from(row.cutoff);
        self.widen(cutoff + 1);
        let (cutoffs, at) = (self.cutoffs, row.item as usize * self.cutoffs + cutoff);
        self.arm(usize::from(row.arm), cutoffs, at + 1)[at] += row.count;
    }

    /// What is not 0, by arm, item and cutoff.
    pub fn rows(&self) -> impl Iterator<Item = ExposureRow> + '_ {
        self.arms.iter().enumerate().flat_map(move |(arm, counts)| {
            let shown = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            shown.map(move |(at, &count)| ExposureRow {
                arm: arm as u16,
                item: (at / self.cutoffs) as ItemId,
                cutoff: (at % self.cutoffs) as u16,
                count,
            })
        })
    }

    /// The counts of the arm's items within the first `cutoff + 1` cutoffs that are not 0,
    /// ascending.
    pub(super) fn shown(&self, arm: usize, cutoff: usize) -> Vec<u64> {
        let Some(counts) = self.arms.get(arm) else { return Vec::new() };
        let within = cutoff.min(self.cutoffs.saturating_sub(1));
        let items = counts.chunks(self.cutoffs.max(1));
        let sums = items.map(|c| c[..=within.min(c.len() - 1)].iter().sum::<u64>());
        let mut shown: Vec<u64> = sums.filter(|&count| count > 0).collect();
        shown.sort_unstable();
        shown
    }

    /// Makes room for more cutoffs for each item.
    fn widen(&mut self, cutoffs: usize) {
        if cutoffs <= self.cutoffs {
            return;
        }
        let old: Vec<ExposureRow> = self.rows().collect();
        *self = Exposure { arms: vec![Vec::new(); self.arms.len()], cutoffs };
        old.into_iter().for_each(|row| self.add(row));
    }
}

impl PartialEq for Exposure {
    fn eq(&self, other: &Self) -> bool {
        self.rows().eq(other.rows())
    }
}

impl From<Vec<ExposureRow>> for Exposure {
    fn from(rows: Vec<ExposureRow>) -> Self {
        let cutoffs = rows.iter().map(|row| usize::from(row.cutoff) + 1).max().unwrap_or(0);
        let mut exposure = Exposure { arms: Vec::new(), cutoffs };
        rows.into_iter().for_each(|row| exposure.add(row));
        exposure
    }
}

impl From<Exposure> for Vec<ExposureRow> {
    fn from(exposure: Exposure) -> Self {
        exposure.rows().collect()
    }
}

/// The share of the catalogue that is shown.
pub(super) fn coverage(shown: &[u64], items: usize) -> f64 {
    shown.len() as f64 / items.max(1) as f64
}

/// The Gini index of the exposure; `shown` ascending, without the zeros. 0 if nothing is shown.
pub(super) fn gini(shown: &[u64], items: usize) -> f64 {
    let total: u128 = shown.iter().map(|&x| u128::from(x)).sum();
    if total == 0 {
        return 0.0;
    }
    let unseen = items.saturating_sub(shown.len());
    let weighed =
        |(i, &x): (usize, &u64)| (2 * (unseen + i + 1) as i128 - items as i128 - 1) * i128::from(x);
    let sum: i128 = shown.iter().enumerate().map(weighed).sum();
    sum as f64 / (items as f64 * total as f64)
}

/// Measures novelty.
#[derive(Clone)]
pub(super) struct Novelty {
    cutoffs: Vec<usize>,
    /// −log₂(p/P) of each item, in [`NOVELTY_UNIT`]s.
    bits: Arc<[u32]>,
}

impl Novelty {
    /// By the catalogue's popularity.
    pub(super) fn new(cutoffs: &[usize], catalogue: &Catalogue) -> Self {
        let total: u64 = catalogue.popularity.iter().map(|&p| u64::from(p)).sum();
        let total = total.max(1) as f64;
        let bits = |&p: &u32| fixed((total / f64::from(p.max(1))).log2(), NOVELTY_UNIT);
        Novelty { cutoffs: cutoffs.to_vec(), bits: catalogue.popularity.iter().map(bits).collect() }
    }

    /// The columns in the order of [`Novelty::measure`].
    pub(super) fn columns(cutoffs: &[usize]) -> Vec<Column> {
        Column::at_each("novelty", cutoffs, |_| NOVELTY_UNIT).collect()
    }

    /// One list's values. Sums of integers, so the order within the list does not matter either.
    pub(super) fn measure(&self, items: &[ItemId], out: &mut Vec<u32>) {
        let (mut from, mut total) = (0, 0u64);
        for &k in &self.cutoffs {
            let to = k.min(items.len());
            total += items[from..to].iter().map(|&i| u64::from(self.bits[i as usize])).sum::<u64>();
            from = to;
            let places = to.max(1) as u64;
            out.push(((total + places / 2) / places) as u32);
        }
    }
}
