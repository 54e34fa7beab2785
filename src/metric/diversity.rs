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
#[derive(Clone)]
pub(super) struct AlphaNdcg {
    catalogue: Arc<Catalogue>,
    attribute: usize,
    cutoffs: Vec<usize>,
    discounts: Vec<f64>,
    /// (1 − α)^n for n earlier items.
    fading: Vec<f64>,
    /// The number that each label has in the present row: [`NONE`], or its place in `labels`.
    numbers: Vec<u32>,
    /// The labels that the row's candidates have.
    labels: Vec<u32>,
    /// How often each of `labels` was shown in the list at hand; all 0 between lists.
    shown: Vec<u32>,
    /// The numbers of the candidates' labels, one candidate after the other, and where each one's
    /// begin and end.
    codes: Vec<u32>,
    ends: Vec<usize>,
    /// Which candidate each of `codes` is of.
    owners: Vec<u32>,
    /// `labels` × `words`: bit i of a label's words is set where candidate i has it.
    carriers: Vec<u64>,
    words: usize,
    /// Bit i is set where candidate i can still be taken.
    left: Vec<u64>,
    /// Each candidate's [`merit`] at the next place.
    merits: Vec<u64>,
    /// See [`steps`].
    steps: Vec<u64>,
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
            numbers: vec![NONE; labels.labels.len()],
            labels: Vec::new(),
            shown: Vec::new(),
            codes: Vec::new(),
            ends: vec![0],
            owners: Vec::new(),
            carriers: Vec::new(),
            words: 0,
            left: Vec::new(),
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
        self.labels.iter().for_each(|&label| self.numbers[label as usize] = NONE);
        self.codes.clear();
        self.owners.clear();
        self.ends.clear();
        self.ends.push(0);
        let attribute = &self.catalogue.attributes[self.attribute];
        for (at, &item) in items.iter().enumerate() {
            let labels = attribute.codes(item);
            self.codes.extend_from_slice(labels);
            self.owners.extend(labels.iter().map(|_| at as u32));
            self.ends.push(self.codes.len());
        }
        // Without a branch: whether a label is new is hard to guess.
        self.labels.resize(self.codes.len(), 0);
        let (numbers, labels) = (self.numbers.as_mut_slice(), self.labels.as_mut_slice());
        let mut count = 0;
        for code in &mut self.codes {
            let number = &mut numbers[*code as usize];
            let new = *number == NONE;
            *number = if new { count as u32 } else { *number };
            labels[count] = *code;
            *code = *number;
            count += usize::from(new);
        }
        self.labels.truncate(count);
        self.shown.clear();
        self.shown.resize(count, 0);
        self.words = items.len().div_ceil(64);
        self.carriers.clear();
        self.carriers.resize(count * self.words, 0);
        let carriers = self.carriers.as_mut_slice();
        for (&code, &at) in self.codes.iter().zip(&self.owners) {
            carriers[code as usize * self.words + at as usize / 64] |= 1 << (at % 64);
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
        let (codes, ends, fading) = (&self.codes[..], &self.ends[..], &self.fading[..]);
        let shown = &mut self.shown[..];
        let mut total = 0.0;
        let mut cut = 0;
        for (place, at) in gained.take_while(|&(place, _)| place < last) {
            while place >= self.cutoffs[cut] {
                out[start + cut] = share(total, ideal[cut]);
                cut += 1;
            }
            let mut gain = 0.0;
            for &code in labels(codes, ends, at as usize) {
                let shown = &mut shown[code as usize];
                gain += fading[*shown as usize];
                *shown += 1;
            }
            total += gain * self.discounts[place];
        }
        for c in cut..self.cutoffs.len() {
            out[start + c] = share(total, ideal[c]);
        }
        shown.fill(0);
    }

    /// The greedy ideal α-DCG of these candidates at each cutoff.
    ///
    /// When a candidate is taken, only the gains of those that share a label with it change, and
    /// each by the same step.
    pub(super) fn ideal(&mut self, from: impl Iterator<Item = u32>, ideal: &mut Vec<f64>) {
        ideal.clear();
        self.merits.clear();
        self.merits.resize(self.ends.len() - 1, TAKEN);
        self.left.clear();
        self.left.resize(self.words, 0);
        let mut count = 0;
        for at in from.map(|at| at as usize) {
            self.merits[at] = merit(self.ends[at + 1] - self.ends[at], at);
            self.left[at / 64] |= 1 << (at % 64);
            count += 1;
        }
        let (codes, ends, words) = (&self.codes[..], &self.ends[..], self.words);
        let (fading, steps, carriers) = (&self.fading[..], &self.steps[..], &self.carriers[..]);
        let (shown, left, merits) = (&mut self.shown[..], &mut self.left[..], &mut self.merits[..]);
        let mut total = 0.0;
        for place in 0..self.discounts.len().min(count) {
            while place >= self.cutoffs[ideal.len()] {
                ideal.push(total);
            }
            let best = position(greatest(merits));
            merits[best] = TAKEN;
            left[best / 64] &= !(1 << (best % 64));
            let mut gain = 0.0;
            for &code in labels(codes, ends, best) {
                let shown = &mut shown[code as usize];
                gain += fading[*shown as usize];
                let step = steps[*shown as usize];
                *shown += 1;
                let carriers = &carriers[code as usize * words..][..words];
                for (word, (carriers, left)) in carriers.iter().zip(&*left).enumerate() {
                    let mut fallen = carriers & left;
                    while fallen != 0 {
                        merits[64 * word + fallen.trailing_zeros() as usize] -= step;
                        fallen &= fallen - 1;
                    }
                }
            }
            total += gain * self.discounts[place];
        }
        ideal.resize(self.cutoffs.len(), total);
        shown.fill(0);
    }
}

/// The labels of one candidate.
fn labels<'a>(codes: &'a [u32], ends: &[usize], at: usize) -> &'a [u32] {
    &codes[ends[at]..ends[at + 1]]
}

/// The number of a label that no candidate has.
const NONE: u32 = u32::MAX;
/// Merits compared side by side.
const LANES: usize = 4;
/// The merit of what is in the list already: below every other.
const TAKEN: u64 = 0;
/// Merits hold gains in 2⁻²⁰, and positions below 2²⁰.
const STEPS: u64 = 1 << 20;

/// The gain of so many labels, none of them shown, and a position as one number: the greater is the
/// one to take, as ties go to the better retrieved.
fn merit(labels: usize, at: usize) -> u64 {
    labels as u64 * STEPS * STEPS + (STEPS - 1 - at as u64)
}

/// The position within a [`merit`].
fn position(merit: u64) -> usize {
    (STEPS - 1 - merit % STEPS) as usize
}

/// By how much a merit falls when a label of it is shown once more, for n times so far.
fn steps(fading: &[f64]) -> Vec<u64> {
    let whole: Vec<u64> = fading.iter().map(|f| (f * STEPS as f64).round() as u64).collect();
    whole.windows(2).map(|pair| (pair[0] - pair[1]) * STEPS).collect()
}

/// The greatest of some numbers.
fn greatest(merits: &[u64]) -> u64 {
    let (parts, rest) = merits.as_chunks::<LANES>();
    let mut lanes = [0; LANES];
    for part in parts {
        for x in 0..LANES {
            lanes[x] = lanes[x].max(part[x]);
        }
    }
    lanes.iter().chain(rest).fold(0, |a, &b| a.max(b))
}

fn share(part: f64, whole: f64) -> u32 {
    if whole > 0.0 { fixed(part / whole, ONE) } else { 0 }
}
