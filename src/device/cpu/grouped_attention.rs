//! Causal attention with heads in groups. Definition: [`GroupedAttention`].
//!
//! The keys and values of a head are packed once for all queries that share them. Queries go in
//! blocks of 48, so that a block's scores stay in the first caches, and keys that the whole block
//! cannot see are not scored.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::path::{Asking, asking};
use super::vector::softmax;
use crate::device::GroupedAttention;

/// Queries that are scored together.
pub const QUERY_BLOCK: usize = 48;

/// Some queries of one head, or of several that share keys and values.
pub struct Block<'a> {
    pub queries: View<'a>,
    /// How many, and the width of a head.
    pub size: [usize; 2],
    /// How many rows the first one sees, and how many more each next one does.
    pub seen: [usize; 2],
    /// (width, rows).
    pub keys: &'a Panels,
    /// (rows, width), in pieces of so many rows, a multiple of the products' own pieces.
    pub values: (&'a [Panels], usize),
    /// Distance of two rows of the output.
    pub out_row: usize,
}

impl Block<'_> {
    /// Writes what the queries make of the values, and tells each one's statistic.
    #[inline(always)]
    pub fn mix(
        self,
        scores: &mut Vec<f32>,
        out: &mut [f32],
        mut statistic: impl FnMut(usize, f32),
    ) {
        let ([queries, width], [first, more]) = (self.size, self.seen);
        let seen = first + (queries - 1) * more;
        scores.resize(queries * seen, 0.0);
        let (a, size) = (self.queries, [queries, width, seen]);
        Product { a, b: self.keys, size, c: scores, c_row: seen, add: false }.compute();
        for (i, scores) in scores.chunks_exact_mut(seen).enumerate() {
            let (seen, unseen) = scores.split_at_mut(first + i * more);
            unseen.fill(0.0);
            statistic(i, softmax(seen, 1.0 / (width as f32).sqrt()));
        }
        let (pieces, rows) = self.values;
        for (piece, start) in pieces.iter().zip((0..seen).step_by(rows)) {
            Product {
                a: View::rows(&scores[start..], seen),
                b: piece,
                size: [queries, rows.min(seen - start), width],
                c: &mut *out,
                c_row: self.out_row,
                add: start > 0,
            }
            .compute();
        }
    }
}

impl Kernel for GroupedAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let shape = self.shape;
        let (row, width, wide) = (shape.row(), shape.width, shape.queries());
        let (asking, rows) = asking(&shape, self.queries);
        assert_eq!((self.qkv.len(), self.out.len()), (shape.tokens() * row, rows * wide));
        assert_eq!(self.statistics.len(), rows * shape.heads);
        let (mut keys, mut values) = (Panels::default(), Panels::default());
        let (mut scores, mut seen_rows) = (Vec::new(), Vec::new());
        let group = shape.heads / shape.shared;
        for asks in asking {
            let Asking { length, first, out_row, .. } = asks;
            let qkv = asks.rows(self.qkv, row, &mut seen_rows);
            for head in 0..shape.heads {
                if head % group == 0 {
                    let key = (shape.heads + head / group) * width;
                    let value = key + shape.shared * width;
                    keys.pack(View::transposed(&qkv[key..], row), width, length);
                    values.pack(View::rows(&qkv[value..], row), length, width);
                }
                for top in (first..length).step_by(QUERY_BLOCK) {
                    let out_row = out_row + top - first;
                    Block {
                        queries: View::rows(&qkv[top * row + head * width..], row),
                        size: [QUERY_BLOCK.min(length - top), width],
                        seen: [top + 1, 1],
                        keys: &keys,
                        values: (std::slice::from_ref(&values), length),
                        out_row: wide,
                    }
                    .mix(
                        &mut scores,
                        &mut self.out[out_row * wide + head * width..],
                        |i, statistic| {
                            self.statistics[(out_row + i) * shape.heads + head] = statistic;
                        },
                    );
                }
            }
        }
    }
}
