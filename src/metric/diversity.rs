//! Does a list show many labels rather than one label many times? α-NDCG.
//!
//! ```text
//! gain(j)          = J(j) · Σ_{c ∈ L_j} (1 − α)^{#{i < j: J(i) = 1, c ∈ L_i}}    L_j: its labels
//! α-DCG@k          = Σ_{j ≤ k} gain(j) / log₂(j + 1)
//! alpha-ndcg@k     = α-DCG@k / ideal α-DCG@k
//! ```
//!
//! `alpha-ndcg@k`: J(j) = 1 where the item is a target; the mean over users with targets; 0 where
//! no candidate is a labelled target. `alpha-ndcg-attribute@k`: J = 1 everywhere, so it is the
//! list's diversity alone; the mean over everybody; 0 where no candidate has a label.
//!
//! The ideal takes, place after place, the candidate of the greatest gain, ties to the better
//! retrieved (the exact ideal is NP-hard; greedy is the measure's definition).
//!
//! Source: Clarke et al. 2008, "Novelty and diversity in information retrieval evaluation".

use super::layout::Column;
use super::plan::MetricPlan;
use super::ranking::discounts;
use super::sum::{ONE, fixed};
use crate::types::{Catalogue, ItemId};
use std::sync::Arc;

/// Measures α-NDCG.
pub(super) struct AlphaNdcg {
    catalogue: Arc<Catalogue>,
    attribute: usize,
    cutoffs: Vec<usize>,
    discounts: Vec<f64>,
    /// (1 − α)^n for n earlier items.
    fading: Vec<f64>,
    /// The labels of the candidates, one after the other, and where each one's begin and end.
    codes: Vec<u32>,
    ends: Vec<usize>,
    /// How often each label was shown in the list at hand; all 0 between lists.
    shown: Vec<u32>,
    /// For each label its last link, for each of `codes` whose label it is and the one before.
    heads: Vec<u32>,
    links: Vec<Link>,
    /// Each candidate's [`merit`] at the next place; padded to whole lanes.
    merits: Vec<f64>,
    /// See [`steps`].
    steps: Vec<f64>,
}

/// A candidate that has a label, and the next one that has it.
struct Link {
    at: u32,
    next: u32,
}

impl AlphaNdcg {
    /// The plan's α-NDCG, if it has one.
    pub(super) fn new(plan: &MetricPlan, catalogue: &Arc<Catalogue>) -> Option<Self> {
        let attribute = plan.diversity_attribute?;
        let labels = &catalogue.attributes[attribute];
        let places = plan.cutoffs.last().copied().unwrap_or(0);
        let fading: Vec<f64> = (0..=places as i32).map(|n| (1.0 - plan.alpha).powi(n)).collect();
        Some(AlphaNdcg {
            attribute,
            cutoffs: plan.cutoffs.clone(),
            discounts: discounts(places),
            codes: Vec::new(),
            ends: vec![0],
            shown: vec![0; labels.labels.len()],
            heads: vec![NONE; labels.labels.len()],
            links: Vec::new(),
            merits: Vec::new(),
            steps: steps(&fading),
            fading,
            catalogue: catalogue.clone(),
        })
    }

    /// The relevance-gated columns.
    pub(super) fn relevance_columns(plan: &MetricPlan) -> Vec<Column> {
        Self::columns(plan, "alpha-ndcg")
    }

    /// The columns of the attribute alone.
    pub(super) fn list_columns(plan: &MetricPlan) -> Vec<Column> {
        Self::columns(plan, "alpha-ndcg-attribute")
    }

    fn columns(plan: &MetricPlan, name: &str) -> Vec<Column> {
        let any = plan.diversity_attribute.is_some();
        let cutoffs = if any { plan.cutoffs.as_slice() } else { &[] };
        Column::at_each(name, cutoffs, |_| ONE).collect()
    }

    /// Takes up a row's candidates: their labels are gathered once, side by side, and what follows
    /// speaks of candidates by their positions.
    pub(super) fn take_up(&mut self, items: &[ItemId]) {
        let labels = &self.catalogue.attributes[self.attribute];
        self.codes.iter().for_each(|&code| self.heads[code as usize] = NONE);
        self.codes.clear();
        self.links.clear();
        self.ends.clear();
        self.ends.push(0);
        for (at, &item) in items.iter().enumerate() {
            for &code in labels.codes(item) {
                let head = &mut self.heads[code as usize];
                self.links.push(Link { at: at as u32, next: *head });
                *head = self.codes.len() as u32;
                self.codes.push(code);
            }
            self.ends.push(self.codes.len());
        }
    }

    /// α-DCG of the gained items over the ideal, at each cutoff. `gained`: places from 0,
    /// ascending, and which candidate is there. `ideal`: from [`AlphaNdcg::ideal`].
    pub(super) fn measure(
        &mut self,
        gained: impl Iterator<Item = (usize, u32)>,
        ideal: &[f64],
        out: &mut Vec<u32>,
    ) {
        let start = out.len();
        out.resize(start + self.cutoffs.len(), 0);
        let last = self.discounts.len();
        let mut total = 0.0;
        let mut cut = 0;
        for (place, at) in gained.take_while(|&(place, _)| place < last) {
            while place >= self.cutoffs[cut] {
                out[start + cut] = share(total, ideal[cut]);
                cut += 1;
            }
            let mut gain = 0.0;
            for &code in codes(&self.codes, &self.ends, at as usize) {
                let shown = &mut self.shown[code as usize];
                gain += self.fading[*shown as usize];
                *shown += 1;
            }
            total += gain * self.discounts[place];
        }
        for c in cut..self.cutoffs.len() {
            out[start + c] = share(total, ideal[c]);
        }
        self.forget();
    }

    /// The greedy ideal α-DCG of these candidates at each cutoff.
    ///
    /// When a candidate is taken, only the gains of those that share a label with it change, and
    /// each by the same step: the links lead to them.
    pub(super) fn ideal(&mut self, from: impl Iterator<Item = u32>, ideal: &mut Vec<f64>) {
        ideal.clear();
        self.merits.clear();
        self.merits.resize((self.ends.len() - 1).next_multiple_of(LANES), TAKEN);
        let mut left = 0;
        for at in from.map(|at| at as usize) {
            self.merits[at] = merit(self.ends[at + 1] - self.ends[at], at);
            left += 1;
        }
        let mut total = 0.0;
        for place in 0..self.discounts.len().min(left) {
            while place >= self.cutoffs[ideal.len()] {
                ideal.push(total);
            }
            let best = position(greatest(&self.merits));
            self.merits[best] = TAKEN;
            let mut gain = 0.0;
            for &code in codes(&self.codes, &self.ends, best) {
                let shown = &mut self.shown[code as usize];
                gain += self.fading[*shown as usize];
                let step = self.steps[*shown as usize];
                *shown += 1;
                let mut link = self.heads[code as usize];
                while let Some(&Link { at, next }) = self.links.get(link as usize) {
                    self.merits[at as usize] -= step;
                    link = next;
                }
            }
            total += gain * self.discounts[place];
        }
        ideal.resize(self.cutoffs.len(), total);
        self.forget();
    }

    /// Nothing was shown yet.
    fn forget(&mut self) {
        self.codes.iter().for_each(|&code| self.shown[code as usize] = 0);
    }
}

/// The labels of one candidate.
fn codes<'a>(codes: &'a [u32], ends: &[usize], at: usize) -> &'a [u32] {
    &codes[ends[at]..ends[at + 1]]
}

/// The end of a chain of links.
const NONE: u32 = u32::MAX;
/// Merits compared side by side.
const LANES: usize = 4;
/// The merit of what is in the list already: below every other.
const TAKEN: f64 = -1.0;
/// Merits hold gains of up to 2¹² labels in 2⁻²⁰, and positions below 2²⁰: together an integer that
/// an f64 holds exactly.
const STEPS: f64 = (1 << 20) as f64;

/// The gain of so many labels, none of them shown, and a position as one number: the greater is the
/// one to take, as ties go to the better retrieved.
fn merit(labels: usize, at: usize) -> f64 {
    labels as f64 * STEPS * STEPS + (STEPS - 1.0 - at as f64)
}

/// The position within a [`merit`].
fn position(merit: f64) -> usize {
    (1 << 20) - 1 - (merit as i64 & ((1 << 20) - 1)) as usize
}

/// By how much a merit falls when a label of it is shown once more, for n times so far.
fn steps(fading: &[f64]) -> Vec<f64> {
    let whole: Vec<f64> = fading.iter().map(|f| (f * STEPS).round()).collect();
    whole.windows(2).map(|pair| (pair[0] - pair[1]) * STEPS).collect()
}

/// The greatest of whole lanes.
fn greatest(merits: &[f64]) -> f64 {
    let greater = |a: f64, b: f64| if a > b { a } else { b };
    let mut lanes = [f64::NEG_INFINITY; LANES];
    for part in merits.chunks_exact(LANES) {
        for x in 0..LANES {
            lanes[x] = greater(part[x], lanes[x]);
        }
    }
    lanes.into_iter().fold(f64::NEG_INFINITY, greater)
}

fn share(part: f64, whole: f64) -> u32 {
    if whole > 0.0 { fixed(part / whole, ONE) } else { 0 }
}
