//! The gradient of candidates' logits.

use super::super::launch::{CANDIDATES_BACKWARD, Launch, arguments};
use super::super::{Bf16, Buffer};
use super::{CandidateLogits, LookupBackward, Uses, fits, u32_of};
use crate::error::Result;

const THREADS: u32 = 256;

/// The gradient of [`CandidateLogits`].
#[derive(Clone, Copy, Debug)]
pub struct CandidateLogitsBackward<'a> {
    /// As forward; its logits are not read.
    pub forward: CandidateLogits<'a>,
    /// (prompts, candidates).
    pub d_logits: &'a Buffer<f32>,
    /// (prompts, hidden).
    pub d_h: &'a Buffer<Bf16>,
    /// Of adapters' own rows, if they are trained.
    pub d_own: Option<OwnRows<'a>>,
}

/// Where own rows' gradients go.
#[derive(Clone, Copy, Debug)]
pub struct OwnRows<'a> {
    /// Which logit, prompt by prompt, is which own row's.
    pub uses: &'a Uses,
    /// (rows, hidden), added to.
    pub d_own: &'a Buffer<f32>,
}

impl CandidateLogitsBackward<'_> {
    /// Checks the call: one launch, and those of [`LookupBackward`] if own rows are trained.
    ///
    /// # Errors
    /// If a buffer's length disagrees with the shape, or a row or list is not there.
    pub fn launches(&self) -> Result<Vec<Launch>> {
        self.forward.launch()?; // the same checks
        let CandidateLogits { hidden, candidates, h, table, own, rows, lists, .. } = self.forward;
        let (name, prompts) = (CANDIDATES_BACKWARD.name, lists.len());
        fits(name, "d_logits", self.d_logits, &[prompts, candidates])?;
        fits(name, "d_h", self.d_h, &[prompts, hidden])?;
        let blocks = hidden.div_ceil(THREADS as usize);
        let [wide, length] = [u32_of(name, hidden)?, u32_of(name, candidates)?];
        let (rows, lists) = (rows.buffer(), lists.buffer());
        let arguments = arguments![self.d_logits, table, own, rows, lists, self.d_h, wide, length];
        let mut launches =
            vec![Launch::new(CANDIDATES_BACKWARD, arguments).over([prompts, blocks], THREADS)?];
        if let Some(OwnRows { uses, d_own }) = self.d_own {
            let (weights, scale) = (Some(self.d_logits), 1.0);
            let call = LookupBackward { scale, uses, weights, x: h, d_rows: d_own };
            launches.extend(call.launches()?);
        }
        Ok(launches)
    }
}
