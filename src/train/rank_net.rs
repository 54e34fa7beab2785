//! The pairwise logistic loss over candidates of which some are to stand above others.

/// A batch's loss and its gradient, prompt by prompt.
///
/// Formula: L = Σ over pairs (i, j) of a prompt with r_i > r_j of ln(1 + exp(s_j − s_i)) / N, where
/// N is the number of such pairs of the whole batch, or 1 when there are none.
/// Shapes:  scores, relevance and d_scores (candidates of one prompt); d_scores is written.
/// Units:   nats; the sum of the prompt's pairs before it is divided by N, in f64. d_scores is the
/// gradient of `scale` times that sum: 1 / N gives that of L.
/// Panics:  if the lengths differ.
/// Source:  Burges et al., Learning to Rank using Gradient Descent (2005), eq. 3 with certain
/// pairs.
pub fn rank_net(scores: &[f32], relevance: &[f32], scale: f32, d_scores: &mut [f32]) -> f64 {
    assert_eq!((scores.len(), d_scores.len()), (relevance.len(), relevance.len()));
    let mut loss = 0.0;
    let mut slopes = vec![0.0; scores.len()];
    for (i, above) in relevance.iter().enumerate() {
        for (j, _) in relevance.iter().enumerate().filter(|(_, below)| above > *below) {
            let gap = f64::from(scores[i]) - f64::from(scores[j]);
            // e ≤ 1: neither the logarithm nor the quotient can overflow.
            let e = (-gap.abs()).exp();
            loss += e.ln_1p() + (-gap).max(0.0);
            let wrong = if gap > 0.0 { e } else { 1.0 } / (1.0 + e);
            slopes[i] -= wrong;
            slopes[j] += wrong;
        }
    }
    for (d_score, slope) in d_scores.iter_mut().zip(slopes) {
        *d_score = (f64::from(scale) * slope) as f32;
    }
    loss
}

/// How many pairs of candidates are to stand one above the other.
pub fn pairs(relevance: &[f32]) -> u64 {
    let below = |above: &f32| relevance.iter().filter(|below| above > *below).count() as u64;
    relevance.iter().map(below).sum()
}
