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

const QUERY_BLOCK: usize = 48;

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
                    let bottom = length.min(top + QUERY_BLOCK);
                    scores.resize((bottom - top) * bottom, 0.0);
                    Product {
                        a: View::rows(&qkv[top * row + head * width..], row),
                        b: &keys,
                        size: [bottom - top, width, bottom],
                        c: &mut scores,
                        c_row: bottom,
                        add: false,
                    }
                    .compute();
                    let out_row = out_row + top - first;
                    for (i, scores) in scores.chunks_exact_mut(bottom).enumerate() {
                        let (seen, unseen) = scores.split_at_mut(top + i + 1);
                        unseen.fill(0.0);
                        self.statistics[(out_row + i) * shape.heads + head] =
                            softmax(seen, 1.0 / (width as f32).sqrt());
                    }
                    Product {
                        a: View::rows(&scores, bottom),
                        b: &values,
                        size: [bottom - top, bottom, width],
                        c: &mut self.out[out_row * wide + head * width..],
                        c_row: wide,
                        add: false,
                    }
                    .compute();
                }
            }
        }
    }
}
