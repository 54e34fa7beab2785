//! The loss over a target and some negatives.

use super::super::Buffer;
use super::super::launch::{Launch, SAMPLED_LOSS, arguments};
use super::{Indices, fits, u32_of, wide};
use crate::error::Result;

const WARPS: usize = 8;
const THREADS: u32 = (WARPS * super::WARP) as u32;
/// Numbers of a row, at most.
pub const SAMPLED_WIDTH_MAX: usize = 512;

/// By which rule.
#[derive(Clone, Copy, Debug)]
pub enum SampledLossRule<'a> {
    /// The softmax over the target and its negatives, whose scores lose (items) ln of how often
    /// each is expected among the negatives.
    Softmax(&'a Buffer<f32>),
    /// Each by itself, the target's probability to the power β.
    Binary(f32),
}

/// Losses of rows, and the gradient of scale times them by the rows and by their scores.
#[derive(Clone, Copy, Debug)]
pub struct SampledLoss<'a> {
    /// Rows, items and width.
    pub size: [usize; 3],
    /// As said.
    pub rule: SampledLossRule<'a>,
    /// What the gradient is multiplied by.
    pub scale: f32,
    /// (rows, hidden).
    pub x: &'a Buffer<f32>,
    /// (items, hidden).
    pub table: &'a Buffer<f32>,
    /// (rows, as many for each): the target, and its negatives.
    pub candidates: &'a Indices,
    /// (rows), in nats.
    pub losses: &'a Buffer<f32>,
    /// As the candidates: what [`super::LookupBackward`] weighs the table's gradient by.
    pub d_scores: &'a Buffer<f32>,
    /// (rows, hidden).
    pub d_x: &'a Buffer<f32>,
}

impl SampledLoss<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a candidate is no item.
    pub fn launch(&self) -> Result<Launch> {
        let (name, [rows, items, hidden]) = (SAMPLED_LOSS.name, self.size);
        wide(name, "hidden", hidden, [1, SAMPLED_WIDTH_MAX])?;
        let each = self.candidates.len() / rows.max(1);
        for (what, x, size) in [
            ("x", self.x, [rows, hidden]),
            ("table", self.table, [items, hidden]),
            ("losses", self.losses, [rows, 1]),
            ("d_scores", self.d_scores, [rows, each]),
            ("d_x", self.d_x, [rows, hidden]),
        ] {
            fits(name, what, x, &size)?;
        }
        fits(name, "candidates", self.candidates.buffer(), &[rows, each])?;
        wide(name, "candidates of a row", each, [1, i32::MAX as usize])?;
        self.candidates.are_all(name, "candidates")?;
        self.candidates.are_in(name, "candidates", items)?;
        let (log_q, beta) = match self.rule {
            SampledLossRule::Softmax(log_q) => (Some(log_q), 1.0),
            SampledLossRule::Binary(beta) => (None, beta),
        };
        log_q.map_or(Ok(()), |log_q| fits(name, "log_q", log_q, &[items]))?;
        let (columns, each) = (u32_of(name, hidden)?, u32_of(name, each)?);
        let Self { x, table, candidates, losses, d_scores, d_x, scale, .. } = *self;
        let ids = candidates.buffer();
        let arguments =
            arguments![x, table, ids, log_q, losses, d_scores, d_x, columns, each, beta, scale];
        let sums = WARPS * hidden * size_of::<f32>();
        Launch::new(SAMPLED_LOSS, arguments).sharing(sums).over([rows, 1], THREADS)
    }
}
