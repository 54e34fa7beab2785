//! Was a request in somebody's own words answered? For requests whose meaning is known, each figure
//! a mean over users with one; an item satisfies a request that meets every part of its meaning. A
//! list shorter than k has places that satisfy nothing.
//!
//! ```text
//! satisfaction@k          = #{j ≤ k: item j satisfies} / k
//! random-satisfaction     = s / n, of n candidates s of which satisfy
//! satisfaction-CATEGORY@k = satisfaction@k of the users whose request is of that category
//! ```

use super::layout::Column;
use super::plan::MetricPlan;
use super::sum::{ONE, fixed, whole};
use crate::control::all_met;
use crate::types::{Candidates, Catalogue, Category, Control, ItemId};
use std::sync::Arc;

/// Measures satisfaction.
#[derive(Clone)]
pub(super) struct Satisfaction {
    catalogue: Arc<Catalogue>,
    cutoffs: Vec<usize>,
}

impl Satisfaction {
    /// For the plan's cutoffs.
    pub(super) fn new(plan: &MetricPlan, catalogue: &Arc<Catalogue>) -> Self {
        Satisfaction { catalogue: Arc::clone(catalogue), cutoffs: plan.cutoffs.clone() }
    }

    /// What depends on the candidates alone.
    pub(super) fn pool_columns() -> Vec<Column> {
        vec![Column::new("random-satisfaction", ONE)]
    }

    /// At each cutoff, then for each category how many users it has and their terms at each cutoff.
    pub(super) fn columns(cutoffs: &[usize]) -> Vec<Column> {
        let terms = 1 + cutoffs.len();
        let unnamed =
            (0..terms).map(|at| Column::new("", if at == 0 { 1 } else { cutoffs[at - 1] as u32 }));
        let unnamed: Vec<Column> = unnamed.collect();
        Column::at_each("satisfaction", cutoffs, |k| k as u32)
            .chain(Category::ALL.iter().flat_map(|_| unnamed.clone()))
            .collect()
    }

    /// Where the terms of a category stand among [`Satisfaction::columns`]: how many users, and
    /// their sum at a cutoff.
    pub(super) fn terms(cutoffs: usize, category: usize, cutoff: usize) -> [usize; 2] {
        let first = cutoffs + category * (1 + cutoffs);
        [first, first + 1 + cutoff]
    }

    /// A row's request that can be judged.
    pub(super) fn judged(row: &Candidates) -> Option<(&[Control], Option<Category>)> {
        let request = row.query.request.as_ref()?;
        (!request.meaning.is_empty()).then_some((&request.meaning, request.category))
    }

    /// In the order of [`Satisfaction::pool_columns`].
    pub(super) fn measure_pool(&self, row: &Candidates, meaning: &[Control], out: &mut Vec<u32>) {
        let pool = &row.items[..row.retrieved()];
        let good = pool.iter().filter(|item| all_met(&self.catalogue, meaning, **item)).count();
        out.push(fixed(good as f64 / pool.len().max(1) as f64, ONE));
    }

    /// In the order of [`Satisfaction::columns`].
    pub(super) fn measure(
        &self,
        items: &[ItemId],
        (meaning, category): (&[Control], Option<Category>),
        out: &mut Vec<u32>,
    ) {
        let start = out.len();
        let (mut good, mut from) = (0, 0);
        for &k in &self.cutoffs {
            let to = k.min(items.len());
            let here = items[from..to].iter();
            good += here.filter(|item| all_met(&self.catalogue, meaning, **item)).count();
            from = to;
            out.push(whole(good));
        }
        let end = out.len();
        for of in Category::ALL {
            if category == Some(of) {
                out.push(1);
                out.extend_from_within(start..end);
            } else {
                out.resize(out.len() + 1 + self.cutoffs.len(), 0);
            }
        }
    }
}
