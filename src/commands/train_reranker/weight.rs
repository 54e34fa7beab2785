//! How much the model's score should count: fitted on validation examples.

use crate::stage::examples::Example;
use crate::stage::token_control::mixed;
use serde::{Deserialize, Serialize};

/// Weights that are tried.
const STEPS: usize = 20;
/// Places that count.
const DEPTH: usize = 10;

/// What a weight gives on the validation examples, each a mean NDCG@10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The model's share of the score.
    pub weight: f32,
    /// With the relevance that was learned as gains: controls met, and what came next.
    pub relevance: f64,
    /// With what came next as the only gain, over the examples that show it.
    pub next: f64,
}

/// Of the weights 0, 0.05, … 1 the one with the highest relevance among those that cost no more
/// than this share of what the retriever's order gives for what came next; the smallest of equals.
///
/// Shapes: logits[e] (candidates of example e).
pub fn fit(examples: &[Example], logits: &[Vec<f32>], cost_max: f32) -> Tried {
    let retrieval = measure(examples, logits, 0.0);
    let least = retrieval.next * (1.0 - f64::from(cost_max));
    let weights = (1..=STEPS).map(|step| step as f32 / STEPS as f32);
    let tried = weights.map(|weight| measure(examples, logits, weight));
    let allowed = tried.filter(|tried| tried.next >= least);
    allowed.fold(retrieval, |best, next| if next.relevance > best.relevance { next } else { best })
}

/// What the order by the score that is mixed with this weight gives; zeros without examples.
pub fn measure(examples: &[Example], logits: &[Vec<f32>], weight: f32) -> Tried {
    let (mut relevance, mut next, mut shown) = (0.0, 0.0, 0);
    for (example, logits) in examples.iter().zip(logits) {
        let scores = mixed(&example.retrieval, logits, weight);
        relevance += ndcg(&scores, &example.relevance);
        if let Some(target) = example.target {
            let mut gains = vec![0.0; scores.len()];
            gains[target as usize] = 1.0;
            next += ndcg(&scores, &gains);
            shown += 1;
        }
    }
    let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
    Tried { weight, relevance: mean(relevance, examples.len()), next: mean(next, shown) }
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
        let fitted = fit(std::slice::from_ref(&example), &[vec![0.0, 2.0, 1.0]], 0.0);
        assert!(fitted.weight > 0.0 && fitted.relevance == 1.0, "{fitted:?}");
        let silent = fit(std::slice::from_ref(&example), &[vec![0.0, 0.0, 0.0]], 0.0);
        assert_eq!(silent.weight, 0.0, "a model that says nothing");
        assert_eq!(fit(&[], &[], 0.0), Tried::default());
        // What came next is where the retriever put it, and what is asked for is not.
        let torn = [Example { target: Some(0), ..example }];
        let free = fit(&torn, &[vec![0.0, 2.0, 1.0]], 1.0);
        let bound = fit(&torn, &[vec![0.0, 2.0, 1.0]], 0.0);
        assert!(free.weight > bound.weight && free.relevance > bound.relevance);
        assert_eq!((free.relevance, bound.next), (1.0, 1.0));
    }

    #[test]
    fn ndcg_by_hand() {
        let log = f64::log2;
        let expected = (1.0 / log(2.0) + 2.0 / log(4.0)) / (2.0 / log(2.0) + 1.0 / log(3.0));
        assert!((ndcg(&[3.0, 2.0, 1.0], &[1.0, 0.0, 2.0]) - expected).abs() < 1e-12);
        assert_eq!(ndcg(&[1.0], &[0.0]), 1.0);
    }
}
