//! Was what people asked for met? From the controls alone: the target earns nothing here.
//!
//! For a user with controls C, m_j the number of them that the item at place j meets, θ the plan's
//! threshold (never more than |C|), and n candidates of which s satisfy (m ≥ θ); each figure is the
//! mean over users with controls. A list shorter than k has places that satisfy nothing.
//!
//! ```text
//! cp@k          = #{j ≤ k: m_j ≥ θ} / k                      control precision
//! cd            = min{j: m_j ≥ θ}, or n + 1 if there is none  control depth; lower is better
//! strict@k      = #{j ≤ k: m_j = |C|} / k
//! per-control@k = Σ_{j ≤ k} m_j / (|C|·k)  mean over controls of each one's share
//! random-cp@k   = (s/n) · min(k, n) / k                      cp@k of a random order on average
//! ceiling-cp@k  = min(s, k) / k                              cp@k that the best order has
//! ncp@k         = (cp − random) / (ceiling − random)         of the three means; 1: the best
//! empty-pool    = 1 if s = 0, else 0
//! ```
//!
//! At a point of a sweep there are two more, for the report's diagnosis:
//!
//! ```text
//! unmet-control = 1 if no candidate meets some c ∈ C, else 0
//! target-unmet  = 1 if there are targets and each has m < θ, else 0
//! ```
//!
//! `cd` counts to n + 1 and not to the list's length + 1, so that an arm that drops candidates does
//! not get a better depth for finding nothing. `ncp` is a ratio of means and not a mean of ratios:
//! users for whom nothing can be gained (ceiling = random) then weigh nothing instead of 0/0.
//!
//! Source: COREC (arXiv 2511.17913), scripts/evaluate.py, without its ground-truth bonus.

use super::layout::Column;
use super::plan::{MetricPlan, Threshold};
use super::sum::{ONE, fixed, whole};
use crate::types::Candidates;

/// Measures control.
#[derive(Clone)]
pub(super) struct ControlMetrics {
    cutoffs: Vec<usize>,
    threshold: Threshold,
    point: bool,
    /// How many controls each candidate of the present row meets.
    met: Vec<u32>,
    /// How many controls the present row has, and how many are wanted.
    controls: usize,
    wanted: u32,
}

impl ControlMetrics {
    /// For the plan's cutoffs and θ.
    pub(super) fn new(plan: &MetricPlan) -> Self {
        let (cutoffs, threshold, point) = (plan.cutoffs.clone(), plan.threshold, plan.point);
        ControlMetrics { cutoffs, threshold, point, met: Vec::new(), controls: 0, wanted: 0 }
    }

    /// What depends on the candidates alone, in the order of [`ControlMetrics::measure_pool`].
    pub(super) fn pool_columns(plan: &MetricPlan) -> Vec<Column> {
        let cutoffs = &plan.cutoffs;
        let names = ["unmet-control", "target-unmet"].iter().filter(|_| plan.point);
        Column::at_each("random-cp", cutoffs, |_| ONE)
            .chain(Column::at_each("ceiling-cp", cutoffs, |k| k as u32))
            .chain([Column::new("empty-pool", 1)])
            .chain(names.map(|name| Column::new(*name, 1)))
            .collect()
    }

    /// The columns in the order of [`ControlMetrics::measure`]; the first are `cp`.
    pub(super) fn columns(cutoffs: &[usize]) -> Vec<Column> {
        Column::at_each("cp", cutoffs, |k| k as u32)
            .chain(Column::at_each("strict", cutoffs, |k| k as u32))
            .chain(Column::at_each("per-control", cutoffs, |_| ONE))
            .chain([Column::new("cd", 1)])
            .collect()
    }

    /// Takes up a row, for its pool and for the arms that follow.
    pub(super) fn measure_pool(&mut self, row: &Candidates, out: &mut Vec<u32>) {
        self.controls = row.query.controls.len();
        self.wanted = self.threshold.of(self.controls);
        self.met.clear();
        self.met.extend(row.met.iter().map(|bits| bits.count_ones()));
        let pool = &self.met[..row.retrieved()];
        let satisfying = pool.iter().filter(|&&met| met >= self.wanted).count();
        let share = satisfying as f64 / (pool.len().max(1)) as f64;
        for &k in &self.cutoffs {
            out.push(fixed(share * pool.len().min(k) as f64 / k as f64, ONE));
        }
        out.extend(self.cutoffs.iter().map(|&k| whole(satisfying.min(k))));
        out.push(u32::from(satisfying == 0));
        if self.point {
            let any = row.met[..pool.len()].iter().fold(0, |any, bits| any | bits);
            out.push(u32::from((any.count_ones() as usize) < self.controls));
            let target = row.query.standing.and_then(|standing| standing.target);
            out.push(u32::from(target.is_some_and(|met| met < self.wanted)));
        }
    }

    /// One arm's list over the row taken up last.
    pub(super) fn measure(&self, order: &[u32], out: &mut Vec<u32>) {
        let cuts = self.cutoffs.len();
        let start = out.len();
        out.resize(start + 3 * cuts, 0);
        let values = &mut out[start..];
        let (mut satisfying, mut strict, mut met) = (0, 0, 0);
        let mut first = None;
        let mut from = 0;
        for (c, &k) in self.cutoffs.iter().enumerate() {
            let to = k.min(order.len());
            for (j, &at) in order[from..to].iter().enumerate() {
                let count = self.met[at as usize];
                met += count;
                strict += usize::from(count as usize == self.controls);
                if count >= self.wanted {
                    satisfying += 1;
                    first.get_or_insert(from + j);
                }
            }
            from = to;
            values[c] = whole(satisfying);
            values[cuts + c] = whole(strict);
            let most = self.controls * k;
            values[2 * cuts + c] = fixed(f64::from(met) / most as f64, ONE);
        }
        let depth = first.or_else(|| {
            let satisfies = |&at: &u32| self.met[at as usize] >= self.wanted;
            order[from..].iter().position(satisfies).map(|j| from + j)
        });
        out.push(whole(depth.unwrap_or(self.met.len()) + 1));
    }
}
