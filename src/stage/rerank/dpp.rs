//! Determinantal point process: the most probable set, where alike items exclude each other.

use super::facts::Facts;
use super::relevance::{best, chosen_first, normalised};
use super::similarity::Similarity;
use crate::error::{Error, Result};
use crate::spec::THETA_MAX;
use crate::types::{ArmList, Candidates};

/// Gains below this are rounding: what is left lies in the span of what was chosen.
const GAIN_MIN: f64 = 1e-10;

/// The parameters of [`dpp`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpp {
    /// θ, the weight of relevance; at 0 diversity alone decides.
    pub theta: f32,
    /// How alike two items are.
    pub similarity: Similarity,
    /// How many places are chosen so; the other items follow in the order they had.
    pub depth: usize,
}

impl Dpp {
    pub(super) fn check(&self, facts: &Facts) -> Result<()> {
        if !(0.0..=THETA_MAX).contains(&self.theta) {
            return Err(Error::Input(format!(
                "dpp: expected a theta from 0 to {THETA_MAX}, found {}",
                self.theta
            )));
        }
        self.similarity.check(facts)
    }
}

/// Fills the first `depth` places by greedy maximum a posteriori inference: each item adds the most
/// to the determinant of the chosen items' kernel. Stops early when nothing adds to it any more.
///
/// Formula: L(i, j) = q(i)·S(i, j)·q(j), q = exp(θ·r), r the relevance mapped to [0, 1]. With
/// j the item just chosen and c the rows of the Cholesky factor so far:
/// e(i) = (L(j, i) − ⟨c(j), c(i)⟩) / d(j), d²(i) −= e(i)². The score is ln d² when chosen.
/// The similarity is computed in f32 and the factor in f64, for a copy of a chosen item must
/// come out below the stopping gain.
/// Cost: depth × K similarities and depth² × K / 2 products.
/// Source: Chen, Zhang and Zhou, "Fast Greedy MAP Inference for DPP", NeurIPS 2018, algorithm 1.
#[expect(clippy::needless_pass_by_value, reason = "a step takes a list and gives a list")]
pub fn dpp(step: &Dpp, row: &Candidates, list: ArmList, facts: &Facts) -> ArmList {
    let space = step.similarity.of(facts);
    let item = |place: usize| row.items[list.order[place] as usize];
    let relevance = normalised(&list.scores);
    let quality: Vec<f64> =
        relevance.iter().map(|&r| (f64::from(step.theta) * f64::from(r)).exp()).collect();
    let size = list.order.len();
    // An item without a vector or labels is like nothing, yet fully like itself.
    let own = |place: usize| match space.between(item(place), item(place)) {
        itself if itself > 0.0 => f64::from(itself),
        _ => 1.0,
    };
    let mut gain: Vec<f64> = (0..size).map(|i| quality[i] * own(i) * quality[i]).collect();
    let mut left: Vec<usize> = (0..size).collect(); // ascending: ties go to the earlier
    let depth = step.depth.min(size);
    let mut factor: Vec<f64> = Vec::with_capacity(depth * size); // one row for each chosen item
    let mut chosen: Vec<(usize, f32)> = Vec::with_capacity(depth);
    while chosen.len() < depth {
        let Some((at, most)) = best(left.iter().map(|&place| gain[place]).enumerate()) else {
            break;
        };
        if most < GAIN_MIN {
            break;
        }
        let j = left.remove(at);
        chosen.push((j, most.ln() as f32));
        let start = factor.len();
        factor.resize(start + size, 0.0);
        let (rows, e) = factor.split_at_mut(start);
        for &i in &left {
            e[i] = quality[j] * f64::from(space.between(item(j), item(i))) * quality[i];
        }
        for c in rows.chunks_exact(size) {
            let c_j = c[j];
            e.iter_mut().zip(c).for_each(|(e, c)| *e -= c_j * c);
        }
        let d_j = most.sqrt();
        for &i in &left {
            e[i] /= d_j;
            gain[i] -= e[i] * e[i];
        }
    }
    chosen_first(&list, &relevance, &chosen)
}
