//! Causal attention over packed sequences. Definition: [`Attention`], [`AttentionBackward`].
//!
//! Queries go in blocks of 48: a block's scores stay in the first caches, and keys that the whole
//! block cannot see are not scored. With a = d_out · vᵀ masked like p, the gradient of the scores
//! is p ⊙ (a − ⟨d_out, out⟩), since ⟨d_out, out⟩ = Σ_j p_j a_j.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::vector::{RowMask, dot, exp_and_sum, max};
use crate::device::{Attention, AttentionBackward};
use std::ops::Range;

const QUERY_BLOCK: usize = 48;

/// One head of one sequence: where it lies in the buffers.
struct Head {
    /// Rows of the buffers.
    rows: Range<usize>,
    head: usize,
    /// Of the probabilities.
    pairs: Range<usize>,
}

/// Every head of every sequence that has rows.
fn heads(offsets: &[u32], heads: usize) -> impl Iterator<Item = Head> {
    let mut start = 0;
    offsets
        .windows(2)
        .filter(|pair| pair[0] < pair[1])
        .flat_map(move |pair| {
            (0..heads).map(move |head| (pair[0] as usize..pair[1] as usize, head))
        })
        .map(move |(rows, head)| {
            let pairs = start..start + rows.len() * rows.len();
            start = pairs.end;
            Head { rows, head, pairs }
        })
}

impl Kernel for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, hidden) = (self.shape.width, self.shape.hidden());
        assert_eq!(self.qkv.len(), self.shape.tokens() * 3 * hidden);
        assert_eq!(self.out.len(), self.shape.tokens() * hidden);
        assert_eq!(self.probabilities.len(), self.shape.pairs());
        let scale = 1.0 / (width as f32).sqrt();
        let (mut keys, mut values) = (Panels::default(), Panels::default());
        let mut dropped = Vec::new();
        for Head { rows, head, pairs } in heads(self.shape.offsets, self.shape.heads) {
            let length = rows.len();
            let part = |which: usize| rows.start * 3 * hidden + which * hidden + head * width;
            keys.pack(View::transposed(&self.qkv[part(1)..], 3 * hidden), width, length);
            values.pack(View::rows(&self.qkv[part(2)..], 3 * hidden), length, width);
            let probabilities = &mut self.probabilities[pairs];
            for top in (0..length).step_by(QUERY_BLOCK) {
                let bottom = length.min(top + QUERY_BLOCK);
                let block = &mut probabilities[top * length..bottom * length];
                Product {
                    a: View::rows(&self.qkv[part(0) + top * 3 * hidden..], 3 * hidden),
                    b: &keys,
                    size: [bottom - top, width, bottom],
                    c: block,
                    c_row: length,
                    add: false,
                }
                .compute();
                dropped.clear();
                dropped.resize((bottom - top) * bottom, 0.0);
                let lines = block.chunks_exact_mut(length).zip(dropped.chunks_exact_mut(bottom));
                for (i, (p, dropped)) in lines.enumerate() {
                    let p = &mut p[..top + i + 1];
                    softmax(p, scale);
                    dropped[..p.len()].copy_from_slice(p);
                    if let Some(mask) = RowMask::of(self.dropout, rows.start + top + i) {
                        for (j, (p, dropped)) in p.iter_mut().zip(dropped).enumerate() {
                            let keeps = mask.keeps((head << 16) + j);
                            *dropped = if keeps { *p * mask.scale } else { 0.0 };
                            *p = if keeps { *p } else { -*p };
                        }
                    }
                }
                Product {
                    a: View::rows(&dropped, bottom),
                    b: &values,
                    size: [bottom - top, bottom, width],
                    c: &mut self.out[(rows.start + top) * hidden + head * width..],
                    c_row: hidden,
                    add: false,
                }
                .compute();
            }
        }
    }
}

#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) {
    for score in scores.iter_mut() {
        *score *= scale;
    }
    let largest = max(scores);
    let inverse = 1.0 / exp_and_sum(scores, largest);
    for score in scores.iter_mut() {
        *score *= inverse;
    }
}

impl Kernel for AttentionBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, hidden) = (self.shape.width, self.shape.hidden());
        let tokens = self.shape.tokens();
        assert_eq!((self.qkv.len(), self.d_qkv.len()), (tokens * 3 * hidden, tokens * 3 * hidden));
        assert_eq!((self.out.len(), self.d_out.len()), (tokens * hidden, tokens * hidden));
        assert_eq!(self.probabilities.len(), self.shape.pairs());
        let scale = 1.0 / (width as f32).sqrt();
        let kept_scale = 1.0 / (1.0 - self.dropout_rate);
        self.d_qkv.fill(0.0);
        let mut panels: [Panels; 4] = Default::default();
        let (mut kept, mut d_scores) = (Vec::new(), Vec::new());
        for Head { rows, head, pairs } in heads(self.shape.offsets, self.shape.heads) {
            let (length, stride) = (rows.len(), 3 * hidden);
            let part = |which: usize| rows.start * stride + which * hidden + head * width;
            let [keys, values, queries, d_outs] = &mut panels;
            keys.pack(View::rows(&self.qkv[part(1)..], stride), length, width);
            values.pack(View::transposed(&self.qkv[part(2)..], stride), width, length);
            let probabilities = &self.probabilities[pairs];
            for top in (0..length).step_by(QUERY_BLOCK) {
                let bottom = length.min(top + QUERY_BLOCK);
                let size = bottom - top;
                let first = (rows.start + top) * hidden + head * width;
                let d_out = View::rows(&self.d_out[first..], hidden);
                d_scores.resize(size * bottom, 0.0);
                Product {
                    a: d_out,
                    b: values,
                    size: [size, width, bottom],
                    c: &mut d_scores,
                    c_row: bottom,
                    add: false,
                }
                .compute();
                kept.clear();
                kept.resize(size * bottom, 0.0);
                let lines = d_scores.chunks_exact_mut(bottom).zip(kept.chunks_exact_mut(bottom));
                for (i, (d_score, kept)) in lines.enumerate() {
                    let at = first + i * hidden;
                    let along = dot(&self.d_out[at..at + width], &self.out[at..at + width]);
                    let seen = top + i + 1;
                    let p = &probabilities[(top + i) * length..][..seen];
                    for j in 0..seen {
                        kept[j] = if p[j] > 0.0 { p[j] * kept_scale } else { 0.0 };
                        d_score[j] = kept[j].mul_add(d_score[j], -(p[j].abs() * along)) * scale;
                    }
                    d_score[seen..].fill(0.0);
                }
                let d_scores = &d_scores[..size * bottom];
                queries.pack(View::rows(&self.qkv[part(0) + top * stride..], stride), size, width);
                d_outs.pack(d_out, size, width);
                let by_query = View::rows(d_scores, bottom);
                let by_key = View::transposed(d_scores, bottom);
                let d_query = part(0) + top * stride;
                let products = [
                    (by_query, &*keys, [size, bottom, width], d_query),
                    (by_key, &*queries, [bottom, size, width], part(1)),
                    (View::transposed(&kept, bottom), &*d_outs, [bottom, size, width], part(2)),
                ];
                for (a, b, size, at) in products {
                    Product { a, b, size, c: &mut self.d_qkv[at..], c_row: stride, add: true }
                        .compute();
                }
            }
        }
    }
}
