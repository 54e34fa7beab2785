//! The softmax loss over all items.

use super::super::launch::{CROSS_ENTROPY, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{Indices, fits, u32_of, wide};
use crate::error::Result;

const THREADS: u32 = 256;

/// losses[r] = ln Σ exp(scores[r]) − scores[r, targets[r]], and the gradient of scale times it.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    /// How many scores of a row count.
    pub items: usize,
    /// How many a row has: what is beyond the items gets no gradient.
    pub wide: usize,
    /// What the gradient is multiplied by.
    pub scale: f32,
    /// (rows, wide): a product.
    pub scores: &'a Buffer<f32>,
    /// (rows).
    pub targets: &'a Indices,
    /// (rows), in nats.
    pub losses: &'a Buffer<f32>,
    /// (rows, wide): what products make the gradients of rows and items of.
    pub d_scores: &'a Buffer<Bf16>,
}

impl CrossEntropy<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a target is no item.
    pub fn launch(&self) -> Result<Launch> {
        let Self { items, wide: stride, scale, scores, targets, losses, d_scores } = *self;
        let (name, rows) = (CROSS_ENTROPY.name, targets.len());
        wide(name, "wide", stride, [1, i32::MAX as usize])?;
        wide(name, "items", items, [1, stride])?;
        fits(name, "scores", scores, &[rows, stride])?;
        fits(name, "losses", losses, &[rows])?;
        fits(name, "d_scores", d_scores, &[rows, stride])?;
        targets.are_all(name, "targets")?;
        targets.are_in(name, "targets", items)?;
        let (targets, counted, stride) = (targets.buffer(), items as u32, u32_of(name, stride)?);
        let arguments = arguments![scores, targets, losses, d_scores, counted, stride, scale];
        Launch::new(CROSS_ENTROPY, arguments).over([rows, 1], THREADS)
    }
}
