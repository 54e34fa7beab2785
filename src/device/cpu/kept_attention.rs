//! Attention that goes on from what is kept. Definition: [`KeptAttention`].
//!
//! A query is scored as [`super::grouped_attention`] scores it: the same bits. Where only one query
//! of a sequence asks, as when token follows token, the heads that share keys and values are one
//! block, so that what is kept is read once.

use super::Kernel;
use super::grouped_attention::{Block, QUERY_BLOCK};
use super::matmul::View;
use super::path::asking;
use crate::device::KeptAttention;

impl Kernel for KeptAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let shape = self.shape;
        let (row, width, wide) = (shape.row(), shape.width, shape.queries());
        let (asking, rows) = asking(&shape, self.queries);
        assert_eq!((self.qkv.len(), self.out.len()), (shape.tokens() * row, rows * wide));
        assert!(self.kept.len() == shape.sequences() && shape.parents.iter().all(Option::is_none));
        let group = shape.heads / shape.shared;
        let mut scores = Vec::new();
        for (asks, kept) in asking.iter().zip(self.kept) {
            let queries = asks.length - asks.first;
            let before = kept.tokens() - queries;
            let together = if queries == 1 { group } else { 1 };
            for head in (0..shape.heads).step_by(together) {
                let (keys, values) = kept.head(head / group);
                for top in (0..queries).step_by(QUERY_BLOCK) {
                    let from = asks.path[0].end - queries + top;
                    let (size, more, rows, out_row) = match queries {
                        1 => (group, 0, width, width),
                        _ => (QUERY_BLOCK.min(queries - top), 1, row, wide),
                    };
                    Block {
                        queries: View::rows(&self.qkv[from * row + head * width..], rows),
                        size: [size, width],
                        seen: [before + top + 1, more],
                        keys,
                        values,
                        out_row,
                    }
                    .mix(
                        &mut scores,
                        &mut self.out[(asks.out_row + top) * wide + head * width..],
                        |_, _| {},
                    );
                }
            }
        }
    }
}
