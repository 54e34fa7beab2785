//! How far apart are a list's items? Intra-list distance.
//!
//! ```text
//! ild@k = Σ_{i < j ≤ k} d(i, j) / #{i < j ≤ k},   over the places that the list has
//! d     = 1 − cos(e_i, e_j)                 (embeddings; an all-zero one is at 1 from all)
//! d     = 1 − |L_i ∩ L_j| / |L_i ∪ L_j|     (labels; two items without labels are at 1)
//! ```
//!
//! The mean over everybody; 0 for a list of fewer than two items; k ≥ 2. The cosines need no pairs:
//! with unit vectors u, Σ_{i<j} cos = (‖Σ u‖² − Σ ‖u‖²) / 2. Summed in f32, in the list's order.
//!
//! Source: Ziegler et al. 2005; Castells et al. 2022 for the distance 1 − cos.

use super::layout::Column;
use super::plan::{Distance, MetricPlan};
use super::sum::{ONE, fixed};
use crate::error::{Error, Result};
use crate::types::{Attribute, Catalogue, ItemId};
use std::sync::Arc;

/// One vector of every item of the catalogue.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// Items × width, row-major.
    pub values: Arc<[f32]>,
    /// The length of a vector.
    pub width: usize,
}

/// Distances lie in [0, 2].
const UNIT: u32 = ONE / 2;

/// Numbers of a vector that are summed side by side: a cache line of them.
const LANES: usize = 16;

/// Measures ILD.
#[derive(Clone)]
pub(super) struct Ild {
    cutoffs: Vec<usize>,
    space: Space,
}

#[derive(Clone)]
enum Space {
    Vectors {
        embeddings: Embeddings,
        /// 1/‖e‖ of each item; 0 for a vector of zeros.
        scales: Arc<[f32]>,
        /// ‖Σ of the unit vectors‖² of the list at hand, by cutoff.
        squares: Vec<f32>,
    },
    Labels {
        catalogue: Arc<Catalogue>,
        attribute: usize,
        /// Bit (c mod 64) for each label c of an item: items with disjoint bits share no label.
        bits: Arc<[u64]>,
    },
}

impl Ild {
    /// The plan's ILD, if it has one.
    ///
    /// # Errors
    /// [`Error::Input`] when the plan wants embeddings and there are none, or not one for each
    /// item.
    pub(super) fn new(
        plan: &MetricPlan,
        catalogue: &Arc<Catalogue>,
        embeddings: Option<Embeddings>,
    ) -> Result<Option<Self>> {
        let space = match (plan.distance, embeddings) {
            (None, _) => return Ok(None),
            (Some(Distance::Attribute(attribute)), _) => Space::Labels {
                catalogue: catalogue.clone(),
                attribute,
                bits: label_bits(&catalogue.attributes[attribute], catalogue.len()).into(),
            },
            (Some(Distance::Embedding), Some(embeddings)) => {
                vectors(embeddings, catalogue.len(), cutoffs(plan).len())?
            }
            (Some(Distance::Embedding), None) => {
                return Err(Error::Input(
                    "the metric ild: expected item embeddings, found none; \
                     measure it by an attribute"
                        .into(),
                ));
            }
        };
        Ok(Some(Ild { cutoffs: cutoffs(plan), space }))
    }

    /// The columns in the order of [`Ild::measure`].
    pub(super) fn columns(plan: &MetricPlan) -> Vec<Column> {
        Column::at_each("ild", &cutoffs(plan), |_| UNIT).collect()
    }

    /// One list's values.
    pub(super) fn measure(&mut self, items: &[ItemId], out: &mut Vec<u32>) {
        let cutoffs = &self.cutoffs;
        let pairs = |k: usize| (k * k.saturating_sub(1) / 2) as f64;
        let mean = |k: usize, total: f64| if k < 2 { 0 } else { fixed(total / pairs(k), UNIT) };
        match &mut self.space {
            Space::Vectors { embeddings, scales, squares } => {
                squares.fill(0.0);
                let whole = embeddings.width / LANES * LANES;
                for from in (0..whole).step_by(LANES) {
                    let part = |vector: &[f32]| {
                        let mut part = [0.0; LANES];
                        part.copy_from_slice(&vector[from..from + LANES]);
                        part
                    };
                    add_squares((embeddings, scales), (items, cutoffs), part, squares);
                }
                if whole < embeddings.width {
                    let rest = |vector: &[f32]| {
                        let mut part = [0.0; LANES];
                        part[..vector.len() - whole].copy_from_slice(&vector[whole..]);
                        part
                    };
                    add_squares((embeddings, scales), (items, cutoffs), rest, squares);
                }
                for (&k, &square) in cutoffs.iter().zip(squares.iter()) {
                    let k = k.min(items.len());
                    let units = items[..k].iter().filter(|&&i| scales[i as usize] > 0.0).count();
                    let cosines = (f64::from(square) - units as f64) / 2.0;
                    out.push(mean(k, (pairs(k) - cosines).max(0.0)));
                }
            }
            Space::Labels { catalogue, attribute, bits } => {
                let labels = &catalogue.attributes[*attribute];
                let distance = |a: ItemId, b: ItemId| {
                    let apart = bits[a as usize] & bits[b as usize] == 0;
                    if apart { 1.0 } else { 1.0 - jaccard(labels.codes(a), labels.codes(b)) }
                };
                let (mut total, mut from) = (0.0, 0);
                for &k in cutoffs {
                    let k = k.min(items.len());
                    for j in from..k {
                        total += items[..j].iter().map(|&i| distance(i, items[j])).sum::<f64>();
                    }
                    from = k;
                    out.push(mean(k, total));
                }
            }
        }
    }
}

/// The cutoffs at which there are pairs.
fn cutoffs(plan: &MetricPlan) -> Vec<usize> {
    let any = plan.distance.is_some();
    plan.cutoffs.iter().copied().filter(|&k| any && k >= 2).collect()
}

fn vectors(embeddings: Embeddings, items: usize, cutoffs: usize) -> Result<Space> {
    let (found, width) = (embeddings.values.len(), embeddings.width);
    if width == 0 || found != items * width {
        return Err(Error::Input(format!(
            "the item embeddings: expected {items} items × {width} numbers, found {found} numbers"
        )));
    }
    let scale = |e: &[f32]| {
        let norm = e.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 }
    };
    let squares = vec![0.0; cutoffs];
    let scales = embeddings.values.chunks_exact(width).map(scale).collect();
    Ok(Space::Vectors { embeddings, scales, squares })
}

/// Adds the squares of [`LANES`] numbers of the sums of unit vectors: those that `part` takes out
/// of a vector.
///
/// The list is walked once for every cache line of its vectors, so that the loads of all its items
/// are under way together.
fn add_squares(
    (embeddings, scales): (&Embeddings, &[f32]),
    (items, cutoffs): (&[ItemId], &[usize]),
    part: impl Fn(&[f32]) -> [f32; LANES],
    squares: &mut [f32],
) {
    let width = embeddings.width;
    let mut sums = [0f32; LANES];
    let mut place = 0;
    for (&k, square) in cutoffs.iter().zip(squares) {
        for &item in &items[place..k.min(items.len())] {
            let (scale, row) = (scales[item as usize], item as usize * width);
            let part = part(&embeddings.values[row..row + width]);
            for x in 0..LANES {
                sums[x] += scale * part[x];
            }
        }
        place = k.min(items.len());
        let mut quarters = [0f32; 4];
        for x in 0..LANES {
            quarters[x % 4] += sums[x] * sums[x];
        }
        *square += quarters[0] + quarters[1] + quarters[2] + quarters[3];
    }
}

/// |a ∩ b| / |a ∪ b| of two ascending lists that are not both empty.
fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        both += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    both as f64 / (a.len() + b.len() - both) as f64
}

/// Bit (c mod 64) for each label c of each item.
fn label_bits(labels: &Attribute, items: usize) -> Vec<u64> {
    let bits_of = |item| labels.codes(item).iter().fold(0, |bits, &code| bits | 1 << (code % 64));
    (0..items as ItemId).map(bits_of).collect()
}
