//! Losses over a target and a few negatives. Definition: [`SampledLoss`].

use super::Kernel;
use super::vector::{add_scaled, dot, exp_and_sum, max};
use crate::device::{SampledLoss, SampledRule};

impl Kernel for SampledLoss<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (hidden, candidates) = (self.shape.hidden, self.shape.candidates);
        let elements = self.shape.rows * hidden;
        assert_eq!((self.x.len(), self.d_x.len()), (elements, elements));
        assert_eq!(self.candidates.len(), self.shape.rows * candidates);
        assert_eq!(self.table.len(), self.d_table.len());
        let row = |item: u32| item as usize * hidden..(item as usize + 1) * hidden;
        let mut scores = vec![0.0; candidates];
        let mut loss = 0.0;
        let rows = self.x.chunks_exact(hidden).zip(self.d_x.chunks_exact_mut(hidden));
        for ((x, d_x), items) in rows.zip(self.candidates.chunks_exact(candidates)) {
            for (score, item) in scores.iter_mut().zip(items) {
                *score = dot(x, &self.table[row(*item)]);
            }
            loss += match self.rule {
                SampledRule::Softmax { log_q } => softmax(&mut scores, items, log_q),
                SampledRule::Binary { beta } => binary(&mut scores, beta),
            };
            d_x.fill(0.0);
            for (d_score, item) in scores.iter().zip(items) {
                let d_score = d_score * self.scale;
                add_scaled(d_x, d_score, &self.table[row(*item)]);
                add_scaled(&mut self.d_table[row(*item)], d_score, x);
            }
        }
        loss
    }
}

/// Replaces the scores by the loss's derivatives.
#[inline(always)]
fn softmax(scores: &mut [f32], items: &[u32], log_q: &[f32]) -> f64 {
    for (j, (score, item)) in scores.iter_mut().zip(items).enumerate() {
        let accidental = j > 0 && *item == items[0];
        *score = if accidental { f32::NEG_INFINITY } else { *score - log_q[*item as usize] };
    }
    let (target, largest) = (scores[0], max(scores));
    // What is left out adds e⁻⁸⁷ here, which no f32 sum with e⁰ in it can show.
    let total = exp_and_sum(scores, largest);
    for score in scores.iter_mut() {
        *score /= total;
    }
    scores[0] -= 1.0;
    f64::from(total).ln() + f64::from(largest) - f64::from(target)
}

/// Replaces the scores by the loss's derivatives.
#[inline(always)]
fn binary(scores: &mut [f32], beta: f32) -> f64 {
    let share = 1.0 / scores.len() as f32;
    let mut loss = 0.0;
    for (j, score) in scores.iter_mut().enumerate() {
        // ln(1 − σ(s)) = −softplus(s), ln σ(s) = −softplus(−s); σ by the side that cannot overflow.
        let s = f64::from(*score);
        let softplus = |s: f64| s.max(0.0) + (-s.abs()).exp().ln_1p();
        let sigma = 1.0 / (1.0 + (-s).exp());
        if j == 0 {
            loss += f64::from(beta) * softplus(-s);
            *score = beta * (sigma - 1.0) as f32 * share;
        } else {
            loss += softplus(s);
            *score = sigma as f32 * share;
        }
    }
    loss * f64::from(share)
}
