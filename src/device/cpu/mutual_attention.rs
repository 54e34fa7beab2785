//! Attention in both directions over packed sequences. Definition: [`MutualAttention`],
//! [`MutualAttentionBackward`].
//!
//! Queries go in blocks of 48: a block's scores stay in the first caches. The backward kernel
//! makes a block's p = exp(score − statistic) again. With a = d_out · vᵀ, the gradient of the
//! scores is p ⊙ (a − ⟨d_out, out⟩), since ⟨d_out, out⟩ = Σ_j p_j a_j.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::vector::{dot, exp, softmax};
use crate::device::{MutualAttention, MutualAttentionBackward};
use std::ops::Range;

const QUERY_BLOCK: usize = 48;

/// The rows of each sequence that has any.
fn sequences(offsets: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let rows = offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize);
    rows.filter(|rows| !rows.is_empty())
}

impl Kernel for MutualAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (heads, width, hidden) = (self.shape.heads, self.shape.width, self.shape.hidden());
        let (tokens, row) = (self.shape.tokens(), 3 * hidden);
        assert_eq!((self.qkv.len(), self.out.len()), (tokens * row, tokens * hidden));
        assert_eq!(self.statistics.len(), tokens * heads);
        let scale = 1.0 / (width as f32).sqrt();
        let (mut keys, mut values) = (Panels::default(), Panels::default());
        let mut scores = Vec::new();
        for rows in sequences(self.shape.offsets) {
            let length = rows.len();
            for head in 0..heads {
                let part = |which: usize| rows.start * row + which * hidden + head * width;
                keys.pack(View::transposed(&self.qkv[part(1)..], row), width, length);
                values.pack(View::rows(&self.qkv[part(2)..], row), length, width);
                for top in (0..length).step_by(QUERY_BLOCK) {
                    let block = QUERY_BLOCK.min(length - top);
                    scores.resize(block * length, 0.0);
                    Product {
                        a: View::rows(&self.qkv[part(0) + top * row..], row),
                        b: &keys,
                        size: [block, width, length],
                        c: &mut scores,
                        c_row: length,
                        add: false,
                    }
                    .compute();
                    let first = rows.start + top;
                    for (i, scores) in scores.chunks_exact_mut(length).enumerate() {
                        self.statistics[(first + i) * heads + head] = softmax(scores, scale);
                    }
                    Product {
                        a: View::rows(&scores, length),
                        b: &values,
                        size: [block, length, width],
                        c: &mut self.out[first * hidden + head * width..],
                        c_row: hidden,
                        add: false,
                    }
                    .compute();
                }
            }
        }
    }
}

/// A head's keys and values, and a block's queries and gradients, packed.
#[derive(Default)]
struct Packed {
    keys: Panels,
    keys_across: Panels,
    values_across: Panels,
    queries: Panels,
    d_outs: Panels,
    /// A block's p, and the gradient of its scores.
    p: Vec<f32>,
    d_scores: Vec<f32>,
}

impl Kernel for MutualAttentionBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let (heads, width, hidden) = (self.shape.heads, self.shape.width, self.shape.hidden());
        let (tokens, row) = (self.shape.tokens(), 3 * hidden);
        assert_eq!((self.qkv.len(), self.d_qkv.len()), (tokens * row, tokens * row));
        assert_eq!((self.out.len(), self.d_out.len()), (tokens * hidden, tokens * hidden));
        assert_eq!(self.statistics.len(), tokens * heads);
        self.d_qkv.fill(0.0);
        let mut packed = Packed::default();
        for rows in sequences(self.shape.offsets) {
            let length = rows.len();
            for head in 0..heads {
                let part = |which: usize| rows.start * row + which * hidden + head * width;
                let (key, value) = (&self.qkv[part(1)..], &self.qkv[part(2)..]);
                packed.keys.pack(View::rows(key, row), length, width);
                packed.keys_across.pack(View::transposed(key, row), width, length);
                packed.values_across.pack(View::transposed(value, row), width, length);
                for top in (0..length).step_by(QUERY_BLOCK) {
                    self.block(&rows, head, top, &mut packed);
                }
            }
        }
    }
}

impl MutualAttentionBackward<'_> {
    /// Adds what a block of a head's queries, from `top` on, contributes.
    #[inline(always)]
    fn block(&mut self, rows: &Range<usize>, head: usize, top: usize, packed: &mut Packed) {
        let (heads, width, hidden) = (self.shape.heads, self.shape.width, self.shape.hidden());
        let (length, row) = (rows.len(), 3 * hidden);
        let block = QUERY_BLOCK.min(length - top);
        let scale = 1.0 / (width as f32).sqrt();
        let part = |which: usize| rows.start * row + which * hidden + head * width;
        let query = part(0) + top * row;
        let out_row = rows.start + top;
        let queries = View::rows(&self.qkv[query..], row);
        let d_outs = View::rows(&self.d_out[out_row * hidden + head * width..], hidden);
        let Packed { keys, keys_across, values_across, p, d_scores, .. } = packed;
        for (a, b, c) in [(queries, keys_across, &mut *p), (d_outs, values_across, &mut *d_scores)]
        {
            c.resize(block * length, 0.0);
            Product { a, b, size: [block, width, length], c, c_row: length, add: false }.compute();
        }
        let lines = p.chunks_exact_mut(length).zip(d_scores.chunks_exact_mut(length));
        for (i, (p, d_scores)) in lines.enumerate() {
            let statistic = self.statistics[(out_row + i) * heads + head];
            let out = (out_row + i) * hidden + head * width;
            let along = dot(&self.d_out[out..out + width], &self.out[out..out + width]);
            for (p, d_score) in p.iter_mut().zip(d_scores) {
                *p = exp(p.mul_add(scale, -statistic));
                *d_score = *p * (*d_score - along) * scale;
            }
        }
        packed.queries.pack(queries, block, width);
        packed.d_outs.pack(d_outs, block, width);
        let by_key = |x| View::transposed(x, length);
        for (a, b, size, to) in [
            (View::rows(d_scores, length), &*keys, [block, length, width], query),
            (by_key(d_scores), &packed.queries, [length, block, width], part(1)),
            (by_key(p), &packed.d_outs, [length, block, width], part(2)),
        ] {
            Product { a, b, size, c: &mut self.d_qkv[to..], c_row: row, add: true }.compute();
        }
    }
}
