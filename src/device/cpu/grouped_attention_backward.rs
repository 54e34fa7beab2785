//! The gradient of causal attention with heads in groups. Definition:
//! [`GroupedAttentionBackward`].
//!
//! Queries go in blocks of 48, and a block's p = exp(score − statistic) is made again where it is
//! needed: no matrix of all queries by all keys is ever kept. With a = d_out · vᵀ, the gradient of
//! the scores is p ⊙ (a − ⟨d_out, out⟩), since ⟨d_out, out⟩ = Σ_j p_j a_j. Keys and values that
//! several heads share get their contributions head after head.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::vector::{dot, exp};
use crate::device::{GroupedAttentionBackward, Queries};

const QUERY_BLOCK: usize = 48;

/// A head's keys and values, and a block's queries and gradients, packed.
#[derive(Default)]
struct Packed {
    keys: Panels,
    keys_across: Panels,
    values_across: Panels,
    queries: Panels,
    d_outs: Panels,
}

/// The rows of a sequence and of its outputs, and where a head's parts begin in a row.
struct Head {
    start: usize,
    length: usize,
    /// The first query, and the row of the output that is its.
    first: usize,
    out_row: usize,
    head: usize,
    key: usize,
    value: usize,
}

impl Kernel for GroupedAttentionBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let shape = self.shape;
        let (row, width, wide) = (shape.row(), shape.width, shape.queries());
        let rows = match self.queries {
            Queries::All => shape.tokens(),
            Queries::Last => shape.offsets.len().saturating_sub(1),
        };
        let elements = shape.tokens() * row;
        assert_eq!((self.qkv.len(), self.d_qkv.len()), (elements, elements));
        assert_eq!((self.out.len(), self.d_out.len()), (rows * wide, rows * wide));
        assert_eq!(self.statistics.len(), rows * shape.heads);
        self.d_qkv.fill(0.0);
        let mut packed = Packed::default();
        let (mut p, mut d_scores) = (Vec::new(), Vec::new());
        let group = shape.heads / shape.shared;
        for (s, pair) in shape.offsets.windows(2).enumerate() {
            let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            let (first, out_row) = match self.queries {
                Queries::All => (0, start),
                Queries::Last => (length - 1, s),
            };
            for head in 0..shape.heads {
                let key = (shape.heads + head / group) * width;
                let value = key + shape.shared * width;
                let head = Head { start, length, first, out_row, head, key, value };
                if head.head.is_multiple_of(group) {
                    let part = |at: usize| &self.qkv[start * row + at..];
                    packed.keys.pack(View::rows(part(key), row), length, width);
                    packed.keys_across.pack(View::transposed(part(key), row), width, length);
                    packed.values_across.pack(View::transposed(part(value), row), width, length);
                }
                for top in (first..length).step_by(QUERY_BLOCK) {
                    self.block(&head, top, &mut packed, [&mut p, &mut d_scores]);
                }
            }
        }
    }
}

impl GroupedAttentionBackward<'_> {
    /// Adds what a block of a head's queries, from `top` on, contributes.
    #[inline(always)]
    fn block(
        &mut self,
        at: &Head,
        top: usize,
        packed: &mut Packed,
        [p, d_scores]: [&mut Vec<f32>; 2],
    ) {
        let shape = self.shape;
        let (row, width, wide) = (shape.row(), shape.width, shape.queries());
        let bottom = at.length.min(top + QUERY_BLOCK);
        let size = bottom - top;
        let scale = 1.0 / (width as f32).sqrt();
        let query = (at.start + top) * row + at.head * width;
        let queries = View::rows(&self.qkv[query..], row);
        let out_row = at.out_row + top - at.first;
        let d_outs = View::rows(&self.d_out[out_row * wide + at.head * width..], wide);
        for (a, b, c) in
            [(queries, &packed.keys_across, &mut *p), (d_outs, &packed.values_across, d_scores)]
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
        let (key, value) = (at.start * row + at.key, at.start * row + at.value);
        let by_key = |x| View::transposed(x, bottom);
        for (a, b, size, to) in [
            (View::rows(d_scores, bottom), &packed.keys, [size, bottom, width], query),
            (by_key(d_scores), &packed.queries, [bottom, size, width], key),
            (by_key(p), &packed.d_outs, [bottom, size, width], value),
        ] {
            Product { a, b, size, c: &mut self.d_qkv[to..], c_row: row, add: true }.compute();
        }
    }
}
