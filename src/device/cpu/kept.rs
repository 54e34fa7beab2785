//! Keys and values that are kept as attention multiplies them, so that reading on from them packs
//! the new ones alone.

use super::matmul::{DEPTH_BLOCK, Panels, View};
use crate::device::shape::GroupedShape;

/// The keys and values of the tokens that a layer has seen.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    tokens: usize,
    heads: Vec<Head>,
}

/// Those of one head.
#[derive(Clone, Debug)]
struct Head {
    /// (width, tokens).
    keys: Panels,
    /// (tokens, width), in pieces of [`DEPTH_BLOCK`] tokens.
    values: Vec<Panels>,
    width: usize,
}

impl Kept {
    /// Of how many tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        let of =
            |head: &Head| head.keys.bytes() + head.values.iter().map(Panels::bytes).sum::<usize>();
        self.heads.iter().map(of).sum()
    }

    /// Whether they are of heads like these, or of no token.
    pub fn fits(&self, shared: usize, width: usize) -> bool {
        let same = |head: &Head| head.width == width;
        self.heads.is_empty() || self.heads.len() == shared && self.heads.iter().all(same)
    }

    /// Forgets all but the first tokens.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens = tokens.min(self.tokens);
        for head in &mut self.heads {
            head.keys.set_columns(self.tokens);
            head.values.truncate(self.tokens.div_ceil(DEPTH_BLOCK));
        }
    }

    /// Adds the keys and values of rows, (rows, [`GroupedShape::row`]).
    ///
    /// Panics: for heads that do not fit.
    pub fn append(&mut self, shape: &GroupedShape<'_>, qkv: &[f32]) {
        let (row, width) = (shape.row(), shape.width);
        assert!(self.fits(shape.shared, width) && qkv.len().is_multiple_of(row));
        let head = || Head { keys: Panels::zeros(width, 0), values: Vec::new(), width };
        self.heads.resize_with(shape.shared, head);
        let (start, end) = (self.tokens, self.tokens + qkv.len() / row);
        for (at, head) in self.heads.iter_mut().enumerate() {
            let key = (shape.heads + at) * width;
            let value = key + shape.shared * width;
            head.keys.set_columns(end);
            let keys = View::transposed(&qkv[key..], row);
            head.keys.place([0, start], keys, [width, end - start]);
            let pieces = end.div_ceil(DEPTH_BLOCK);
            head.values.resize_with(pieces, || Panels::zeros(DEPTH_BLOCK, width));
            for (piece, first) in head.values.iter_mut().zip((0..).step_by(DEPTH_BLOCK)) {
                let (from, to) = (start.max(first), end.min(first + DEPTH_BLOCK));
                if from < to {
                    let values = View::rows(&qkv[(from - start) * row + value..], row);
                    piece.place([from - first, 0], values, [to - from, width]);
                }
            }
        }
        self.tokens = end;
    }

    /// A head's keys (width, tokens), and its values in pieces of so many tokens.
    pub(super) fn head(&self, head: usize) -> (&Panels, (&[Panels], usize)) {
        let Head { keys, values, .. } = &self.heads[head];
        (keys, (values, DEPTH_BLOCK))
    }
}
