//! The logits of candidates.

use super::super::launch::{CANDIDATE_LOGITS, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{EIGHT, Indices, Rows, fits, u32_of, wide};
use crate::error::Result;

/// Candidates of a prompt that are computed beside each other: a warp each.
const THREADS: u32 = 256;

/// logits[p, j] = ⟨h[p], the row `rows[lists[p], j]`⟩.
#[derive(Clone, Copy, Debug)]
pub struct CandidateLogits<'a> {
    /// Width of a row: a multiple of 8.
    pub hidden: usize,
    /// How many logits a prompt has.
    pub candidates: usize,
    /// (prompts, hidden): each prompt's last row, normalised.
    pub h: &'a Buffer<Bf16>,
    /// (vocabulary, hidden).
    pub table: &'a Buffer<Bf16>,
    /// (rows, hidden): adapters' own rows, one after the other.
    pub own: Option<&'a Buffer<Bf16>>,
    /// (lists, candidates).
    pub rows: &'a Rows,
    /// (prompts) rows of `rows`.
    pub lists: &'a Indices,
    /// (prompts, candidates).
    pub logits: &'a Buffer<f32>,
}

impl CandidateLogits<'_> {
    /// Checks the call.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row or list is not there.
    pub fn launch(&self) -> Result<Launch> {
        let Self { hidden, candidates, h, table, own, rows, lists, logits } = *self;
        let (name, prompts) = (CANDIDATE_LOGITS.name, lists.len());
        wide(name, "hidden", hidden, [EIGHT, i32::MAX as usize])?;
        wide(name, "candidates", candidates, [1, i32::MAX as usize])?;
        fits(name, "h", h, &[prompts, hidden])?;
        fits(name, "logits", logits, &[prompts, candidates])?;
        rows.are_in(name, [table.len() / hidden, own.map_or(0, |own| own.len() / hidden)])?;
        lists.are_all(name, "lists")?;
        lists.are_in(name, "lists", rows.len() / candidates)?;
        let sizes = [u32_of(name, hidden)?, u32_of(name, candidates)?];
        let (rows, lists) = (rows.buffer(), lists.buffer());
        let arguments = arguments![h, table, own, rows, lists, logits, sizes[0], sizes[1]];
        Launch::new(CANDIDATE_LOGITS, arguments).over([prompts, 1], THREADS)
    }
}
