//! How far a micro-batch's vectors are from what was judged, and what follows for them.

use super::settings::EncoderLoss;
use crate::model::encoder::dot;
use std::ops::Range;

/// The least score of an item that is what was asked for.
pub const POSITIVE: f32 = 0.5;

/// What is judged: a request's row, an item's row and a score; a request's pairs one after the
/// other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Row of the requests' vectors.
    pub request: usize,
    /// Row of the items' vectors.
    pub item: usize,
    /// 0 to 1.
    pub score: f32,
}

/// What the pairs are measured with.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Of each pair.
    pub loss: EncoderLoss,
    /// What a pair's loss is multiplied by.
    pub pair_share: f64,
    /// What a positive pair's contrast is multiplied by; 0 for none.
    pub contrast_share: f64,
    /// Scale and bias of the logit.
    pub scale: f32,
    /// See `scale`.
    pub bias: f32,
}

/// The vectors of a micro-batch and the gradients by them, both of rows as wide as `width`.
pub struct Vectors<'a> {
    /// How wide.
    pub width: usize,
    /// Of requests.
    pub f: &'a [f32],
    /// Of items.
    pub g: &'a [f32],
    /// Added to.
    pub d_f: &'a mut [f32],
    /// Added to.
    pub d_g: &'a mut [f32],
}

impl Vectors<'_> {
    fn cosine(&self, request: usize, item: usize) -> f64 {
        let width = self.width;
        let (f, g) = (&self.f[request * width..][..width], &self.g[item * width..][..width]);
        f64::from(dot(f, g))
    }

    /// Adds what follows from the gradient by a cosine.
    fn follow(&mut self, request: usize, item: usize, d: f64) {
        let (width, d) = (self.width, d as f32);
        let (f, g) = (request * width..(request + 1) * width, item * width..(item + 1) * width);
        for (to, x) in self.d_f[f.clone()].iter_mut().zip(&self.g[g.clone()]) {
            *to = d.mul_add(*x, *to);
        }
        for (to, x) in self.d_g[g].iter_mut().zip(&self.f[f]) {
            *to = d.mul_add(*x, *to);
        }
    }
}

/// The loss and the gradients by log scale and bias; the gradients by the vectors are added to
/// theirs.
///
/// Formula: Σ pair_share · loss(z, y) + Σ over positive pairs of contrast_share ·
/// (ln(eᶻ + Σ eᶻ' over items that the request was not judged with) − z), with
/// z = scale · ⟨f, g⟩ + bias; loss as in [`EncoderLoss`].
/// Units:   nats, but for squares; summed in f64.
pub fn loss(rule: &Rule, pairs: &[Pair], vectors: &mut Vectors<'_>) -> (f64, [f64; 2]) {
    let (scale, bias) = (f64::from(rule.scale), f64::from(rule.bias));
    let (mut total, mut d_logs, mut d_bias) = (0.0, 0.0, 0.0);
    for Pair { request, item, score } in pairs {
        let (cosine, y) = (vectors.cosine(*request, *item), f64::from(*score));
        let z = scale.mul_add(cosine, bias);
        let p = 1.0 / (1.0 + (-z).exp());
        let (value, slope) = match rule.loss {
            EncoderLoss::Mse => ((p - y) * (p - y), 2.0 * (p - y) * p * (1.0 - p)),
            // ln(1 + e^−|z|) + max(z, 0) − y z
            EncoderLoss::Bce => ((-z.abs()).exp().ln_1p() + z.max(0.0) - y * z, p - y),
        };
        total += rule.pair_share * value;
        let d_z = rule.pair_share * slope;
        (d_logs, d_bias) = (d_logs + d_z * scale * cosine, d_bias + d_z);
        vectors.follow(*request, *item, d_z * scale);
    }
    if rule.contrast_share > 0.0 {
        for range in requests(pairs) {
            let (value, d) = contrast(rule, &pairs[range], vectors);
            (total, d_logs) = (total + value, d_logs + d);
        }
    }
    (total, [d_logs, d_bias])
}

/// The pairs of each request.
fn requests(pairs: &[Pair]) -> Vec<Range<usize>> {
    let mut end = 0;
    let chunks = pairs.chunk_by(|a, b| a.request == b.request);
    let range = |chunk: &[Pair]| {
        end += chunk.len();
        end - chunk.len()..end
    };
    chunks.map(range).collect()
}

/// The contrast of one request's positive pairs, and its gradient by the log scale.
fn contrast(rule: &Rule, own: &[Pair], vectors: &mut Vectors<'_>) -> (f64, f64) {
    let scale = f64::from(rule.scale);
    let request = own[0].request;
    let count = vectors.g.len() / vectors.width;
    let others = (0..count).filter(|item| own.iter().all(|pair| pair.item != *item));
    let others: Vec<(usize, f64)> =
        others.map(|item| (item, vectors.cosine(request, item))).collect();
    let (mut total, mut d_logs) = (0.0, 0.0);
    let mut slopes = vec![0.0; others.len()];
    for pair in own.iter().filter(|pair| pair.score >= POSITIVE) {
        let cosine = vectors.cosine(request, pair.item);
        let most = others.iter().fold(cosine, |most, (_, other)| most.max(*other));
        let exp = |cosine: f64| (scale * (cosine - most)).exp();
        let sum = others.iter().fold(exp(cosine), |sum, (_, other)| sum + exp(*other));
        total += rule.contrast_share * (sum.ln() + scale * (most - cosine));
        let d = rule.contrast_share * (exp(cosine) / sum - 1.0) * scale;
        d_logs += d * cosine;
        vectors.follow(request, pair.item, d);
        for (slope, (_, other)) in slopes.iter_mut().zip(&others) {
            let d = rule.contrast_share * exp(*other) / sum * scale;
            *slope += d;
            d_logs += d * other;
        }
    }
    for (slope, (item, _)) in slopes.iter().zip(&others) {
        if *slope != 0.0 {
            vectors.follow(request, *item, *slope);
        }
    }
    (total, d_logs)
}
