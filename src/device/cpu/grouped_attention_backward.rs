//! The gradient of causal attention with heads in groups. Definition:
//! [`GroupedAttentionBackward`].
//!
//! Queries go in blocks of 48, and a block's p = exp(score − statistic) is made again where it is
//! needed: no matrix of all queries by all keys is ever kept. With a = d_out · vᵀ, the gradient of
//! the scores is p ⊙ (a − ⟨d_out, out⟩), since ⟨d_out, out⟩ = Σ_j p_j a_j. Keys and values that
//! several heads share get their contributions head after head.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::path::{Asking, asking};
use super::vector::{dot, exp};
use crate::device::GroupedAttentionBackward;

const QUERY_BLOCK: usize = 48;

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

/// What a sequence sees, the gradient of that, and where a head's parts begin in a row.
struct Head<'a> {
    qkv: &'a [f32],
    d_qkv: &'a mut [f32],
    asks: &'a Asking,
    head: usize,
    key: usize,
    value: usize,
}

impl Kernel for GroupedAttentionBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let shape = self.shape;
        let (row, wide) = (shape.row(), shape.queries());
        let (asking, rows) = asking(&shape, self.queries);
        let elements = shape.tokens() * row;
        assert_eq!((self.qkv.len(), self.d_qkv.len()), (elements, elements));
        assert_eq!((self.out.len(), self.d_out.len()), (rows * wide, rows * wide));
        assert_eq!(self.statistics.len(), rows * shape.heads);
        self.d_qkv.fill(0.0);
        let mut packed = Packed::default();
        let (mut seen_rows, mut d_seen) = (Vec::new(), Vec::new());
        let d_qkv = std::mem::take(&mut self.d_qkv);
        for asks in &asking {
            let qkv = asks.rows(self.qkv, row, &mut seen_rows);
            let to = match &asks.path[..] {
                [own] => &mut d_qkv[own.start * row..own.end * row],
                _ => {
                    d_seen.clear();
                    d_seen.resize(asks.length * row, 0.0);
                    &mut d_seen[..]
                }
            };
            self.sequence(asks, qkv, to, &mut packed);
            if asks.path.len() > 1 {
                asks.give_back(&d_seen, row, d_qkv);
            }
        }
    }
}

impl GroupedAttentionBackward<'_> {
    /// Adds what a sequence's queries contribute to the gradient of what it sees.
    #[inline(always)]
    fn sequence(&self, asks: &Asking, qkv: &[f32], d_qkv: &mut [f32], packed: &mut Packed) {
        let shape = self.shape;
        let (row, width) = (shape.row(), shape.width);
        let group = shape.heads / shape.shared;
        let Asking { length, first, .. } = *asks;
        for head in 0..shape.heads {
            let key = (shape.heads + head / group) * width;
            let value = key + shape.shared * width;
            if head.is_multiple_of(group) {
                packed.keys.pack(View::rows(&qkv[key..], row), length, width);
                packed.keys_across.pack(View::transposed(&qkv[key..], row), width, length);
                packed.values_across.pack(View::transposed(&qkv[value..], row), width, length);
            }
            let mut head = Head { qkv, d_qkv, asks, head, key, value };
            for top in (first..length).step_by(QUERY_BLOCK) {
                self.block(&mut head, top, packed);
            }
        }
    }

    /// Adds what a block of a head's queries, from `top` on, contributes.
    #[inline(always)]
    fn block(&self, at: &mut Head<'_>, top: usize, packed: &mut Packed) {
        let shape = self.shape;
        let (row, width, wide) = (shape.row(), shape.width, shape.queries());
        let bottom = at.asks.length.min(top + QUERY_BLOCK);
        let size = bottom - top;
        let scale = 1.0 / (width as f32).sqrt();
        let query = top * row + at.head * width;
        let queries = View::rows(&at.qkv[query..], row);
        let out_row = at.asks.out_row + top - at.asks.first;
        let d_outs = View::rows(&self.d_out[out_row * wide + at.head * width..], wide);
        let Packed { keys, keys_across, values_across, p, d_scores, .. } = packed;
        for (a, b, c) in [(queries, keys_across, &mut *p), (d_outs, values_across, &mut *d_scores)]
        {
            c.resize(size * bottom, 0.0);
            Product { a, b, size: [size, width, bottom], c, c_row: bottom, add: false }.compute();
        }
        let lines = p.chunks_exact_mut(bottom).zip(d_scores.chunks_exact_mut(bottom));
        for (i, (p, d_score)) in lines.enumerate() {
            let statistic = self.statistics[(out_row + i) * shape.heads + at.head];
            let out = (out_row + i) * wide + at.head * width;
            let along = dot(&self.d_out[out..out + width], &self.out[out..out + width]);
            let seen = top + i + 1;
            for (p, d_score) in p[..seen].iter_mut().zip(&mut d_score[..seen]) {
                *p = exp(p.mul_add(scale, -statistic));
                *d_score = *p * (*d_score - along) * scale;
            }
            p[seen..].fill(0.0);
            d_score[seen..].fill(0.0);
        }
        packed.queries.pack(queries, size, width);
        packed.d_outs.pack(d_outs, size, width);
        let by_key = |x| View::transposed(x, bottom);
        for (a, b, size, to) in [
            (View::rows(d_scores, bottom), &*keys, [size, bottom, width], query),
            (by_key(d_scores), &packed.queries, [bottom, size, width], at.key),
            (by_key(p), &packed.d_outs, [bottom, size, width], at.value),
        ] {
            Product { a, b, size, c: &mut at.d_qkv[to..], c_row: row, add: true }.compute();
        }
    }
}
