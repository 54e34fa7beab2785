//! How alike the embeddings of some tokens are, and a term of the loss that keeps them apart.
//!
//! Control tokens that a training leaves alike are hard to tell apart: with more of them in a
//! prompt control saturates.

use std::ops::Range;

/// The mean over pairs of vectors of their cosine; none for fewer than two. A vector of zeros has
/// cosine 0 with any other.
///
/// Shapes:  rows are places in `weights`, each with as many values.
pub fn mean_cosine(weights: &[f32], rows: &[Range<usize>]) -> Option<f64> {
    let all: Vec<f64> = pairs(rows).map(|(a, b)| Pair::of(weights, a, b).cosine).collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
}

/// The term of the loss that keeps vectors apart, and its gradient.
///
/// Formula: R = mean over pairs i < j of max(0, cos(e_i, e_j))²;
/// ∂R/∂e_i = Σ over pairs that hold i of 2 · max(0, c) · (e_j / (|e_i| |e_j|) − c · e_i / |e_i|²),
/// divided by the number of all pairs, with c = cos(e_i, e_j).
/// Shapes:  rows are places in `weights`, each with as many values; `gradient` is laid out like
/// `weights`, and `scale` · ∂R is added to it.
/// Units:   none; summed in f64. 0 for fewer than two vectors.
pub fn contrast(weights: &[f32], rows: &[Range<usize>], scale: f32, gradient: &mut [f32]) -> f64 {
    let share = 1.0 / pairs(rows).count().max(1) as f64;
    let mut sum = 0.0;
    for (a, b) in pairs(rows) {
        let Pair { cosine, lengths } = Pair::of(weights, a, b);
        if cosine <= 0.0 {
            continue;
        }
        sum += share * cosine * cosine;
        let slope = 2.0 * share * f64::from(scale) * cosine;
        for ((own, own_length), (other, other_length)) in
            [((a, lengths[0]), (b, lengths[1])), ((b, lengths[1]), (a, lengths[0]))]
        {
            let values = weights[own.clone()].iter().zip(&weights[other.clone()]);
            for (to, (x, y)) in gradient[own.clone()].iter_mut().zip(values) {
                let across = f64::from(*y) / (own_length * other_length);
                let along = cosine * f64::from(*x) / (own_length * own_length);
                *to += (slope * (across - along)) as f32;
            }
        }
    }
    sum
}

/// Two vectors.
struct Pair {
    cosine: f64,
    lengths: [f64; 2],
}

impl Pair {
    fn of(weights: &[f32], a: &Range<usize>, b: &Range<usize>) -> Pair {
        let product = |a: &Range<usize>, b: &Range<usize>| -> f64 {
            let values = weights[a.clone()].iter().zip(&weights[b.clone()]);
            values.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let lengths = [product(a, a).sqrt(), product(b, b).sqrt()];
        let both = lengths[0] * lengths[1];
        let cosine = if both > 0.0 { product(a, b) / both } else { 0.0 };
        Pair { cosine, lengths }
    }
}

fn pairs(rows: &[Range<usize>]) -> impl Iterator<Item = (&Range<usize>, &Range<usize>)> {
    rows.iter().enumerate().flat_map(|(at, a)| rows[at + 1..].iter().map(move |b| (a, b)))
}
