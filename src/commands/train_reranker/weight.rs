//! How much the model's score should count: fitted on validation examples.

use crate::stage::examples::Example;
use crate::stage::token_control::mixed;

/// Weights that are tried.
const STEPS: usize = 20;
/// Places that count.
const DEPTH: usize = 10;

/// The weight of 0, 0.05, … 1 with the highest mean NDCG@10 over the examples, the smallest of
/// equals. Gains are the relevance that was learned: controls met, and what came next.
///
/// Shapes: logits[e] (candidates of example e).
pub fn fit(examples: &[Example], logits: &[Vec<f32>]) -> (f32, f64) {
    let tried = (0..=STEPS).map(|step| {
        let weight = step as f32 / STEPS as f32;
        (weight, mean_ndcg(examples, logits, weight))
    });
    tried.reduce(|best, next| if next.1 > best.1 { next } else { best }).unwrap_or((0.0, 0.0))
}

/// The mean NDCG@10 over the examples of the order by the mixed score; 0 if there are none.
pub fn mean_ndcg(examples: &[Example], logits: &[Vec<f32>], weight: f32) -> f64 {
    let each = examples.iter().zip(logits).map(|(example, logits)| {
        let scores = mixed(&example.retrieval, logits, weight);
        ndcg(&scores, &example.relevance)
    });
    each.sum::<f64>() / examples.len().max(1) as f64
}

/// NDCG@10 with linear gains; 1 where there is nothing to gain.
fn ndcg(scores: &[f64], gains: &[f32]) -> f64 {
    let dcg = |order: &[usize]| {
        let places = order.iter().take(DEPTH).enumerate();
        places.map(|(place, at)| f64::from(gains[*at]) / (place as f64 + 2.0).log2()).sum::<f64>()
    };
    let mut order: Vec<usize> = (0..gains.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let found = dcg(&order);
    order.sort_by(|a, b| gains[*b].total_cmp(&gains[*a]));
    let best = dcg(&order);
    if best > 0.0 { found / best } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_source_gets_the_weight() {
        let example = Example {
            relevance: vec![0.0, 2.0, 1.0],
            retrieval: vec![3.0, 2.0, 1.0],
            ..Example::default()
        };
        let (weight, ndcg) = fit(std::slice::from_ref(&example), &[vec![0.0, 2.0, 1.0]]);
        assert!(weight > 0.0 && ndcg == 1.0, "{weight} {ndcg}");
        assert_eq!(fit(&[example], &[vec![0.0, 0.0, 0.0]]).0, 0.0, "a model that says nothing");
        assert_eq!(fit(&[], &[]).0, 0.0);
    }

    #[test]
    fn ndcg_by_hand() {
        let log = f64::log2;
        let expected = (1.0 / log(2.0) + 2.0 / log(4.0)) / (2.0 / log(2.0) + 1.0 / log(3.0));
        assert!((ndcg(&[3.0, 2.0, 1.0], &[1.0, 0.0, 2.0]) - expected).abs() < 1e-12);
        assert_eq!(ndcg(&[1.0], &[0.0]), 1.0);
    }
}
