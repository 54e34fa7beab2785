//! How far a model's scores agree with a teacher's: over the items that were judged for one
//! request, and over all pairs.
//!
//! ```text
//! auc         = P(score of a good item > score of another) + P(equal) / 2, mean over requests
//! auc-pooled  = the same over all pairs of all requests at once
//! spearman    = correlation of the mean ranks, mean over requests
//! ```
//!
//! An item is good that the teacher gives at least a half. Requests without a good item, or without
//! another, say nothing of the first; those whose scores are all equal nothing of the last.

use serde::{Deserialize, Serialize};

/// A model's score and the teacher's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The model's; not NaN.
    pub model: f32,
    /// The teacher's.
    pub teacher: f32,
}

/// Means over requests; none where no request says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Requests that were judged.
    pub requests: u64,
    /// Their pairs.
    pub pairs: u64,
    /// Mean over requests.
    pub auc: Option<f64>,
    /// Half the width of its 95 % interval, by the normal approximation.
    pub auc_margin: Option<f64>,
    /// Over all pairs at once.
    pub auc_pooled: Option<f64>,
    /// Mean over requests.
    pub spearman: Option<f64>,
}

impl Agreement {
    /// Of the pairs of each request.
    pub fn of<'a>(requests: impl Iterator<Item = &'a [Pair]>) -> Agreement {
        let (mut all, mut aucs, mut correlations) = (Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for pairs in requests {
            count += 1;
            all.extend_from_slice(pairs);
            aucs.extend(auc(pairs));
            correlations.extend(spearman(pairs));
        }
        let auc_mean = mean(&aucs);
        Agreement {
            requests: count,
            pairs: all.len() as u64,
            auc: auc_mean,
            auc_margin: auc_mean.map(|mean| margin(&aucs, mean)),
            auc_pooled: auc(&all),
            spearman: mean(&correlations),
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn margin(values: &[f64], mean: f64) -> f64 {
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let count = values.len() as f64;
    1.96 * (squares / (count - 1.0).max(1.0) / count).sqrt()
}

/// The area under the curve; none without both kinds of items.
pub fn auc(pairs: &[Pair]) -> Option<f64> {
    let good = |pair: &Pair| pair.teacher >= 0.5;
    let goods = pairs.iter().filter(|pair| good(pair)).count() as f64;
    let others = pairs.len() as f64 - goods;
    if goods == 0.0 || others == 0.0 {
        return None;
    }
    // Mann and Whitney: the good ones' ranks say how many others are below them.
    let ranks = mean_ranks(pairs.iter().map(|pair| pair.model));
    let sum: f64 = pairs.iter().zip(&ranks).filter(|(p, _)| good(p)).map(|(_, rank)| rank).sum();
    Some((sum - goods * (goods + 1.0) / 2.0) / (goods * others))
}

/// Spearman's rank correlation; none where either side's scores are all equal.
pub fn spearman(pairs: &[Pair]) -> Option<f64> {
    let models = mean_ranks(pairs.iter().map(|pair| pair.model));
    let teachers = mean_ranks(pairs.iter().map(|pair| pair.teacher));
    let middle = (pairs.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum()
    };
    let spread = (product(&models, &models) * product(&teachers, &teachers)).sqrt();
    (spread > 0.0).then(|| product(&models, &teachers) / spread)
}

/// Ranks from 1 for the least; equal values share the mean of theirs.
fn mean_ranks(values: impl Iterator<Item = f32>) -> Vec<f64> {
    let mut order: Vec<(f32, usize)> = values.map(|v| v + 0.0).zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = vec![0.0; order.len()];
    let mut below = 0;
    for equals in order.chunk_by(|a, b| a.0 == b.0) {
        let rank = below as f64 + (equals.len() as f64 + 1.0) / 2.0;
        equals.iter().for_each(|(_, at)| ranks[*at] = rank);
        below += equals.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(values: &[(f32, f32)]) -> Vec<Pair> {
        values.iter().map(|&(model, teacher)| Pair { model, teacher }).collect()
    }

    #[test]
    fn figures_by_hand() {
        let some = pairs(&[(0.9, 1.0), (0.8, 0.0), (0.7, 1.0), (0.1, 0.0)]);
        assert_eq!(auc(&some), Some(0.75), "three of the four couples are in order");
        assert_eq!(auc(&pairs(&[(0.5, 1.0), (0.5, 0.0)])), Some(0.5));
        assert_eq!(auc(&pairs(&[(0.5, 1.0)])), None);
        let rising = pairs(&[(1.0, 0.1), (2.0, 0.2), (3.0, 0.9)]);
        assert_eq!(spearman(&rising), Some(1.0));
        // 1 − 6 · (1 + 1) / (3 · 8), by the formula without ties.
        assert_eq!(spearman(&pairs(&[(1.0, 2.0), (2.0, 1.0), (3.0, 3.0)])), Some(0.5));
        assert_eq!(spearman(&pairs(&[(1.0, 2.0), (1.0, 1.0)])), None);
        let both = Agreement::of([&some[..], &rising[..]].into_iter());
        assert_eq!((both.requests, both.pairs), (2, 7));
        assert_eq!(both.auc, Some(0.875));
    }
}
