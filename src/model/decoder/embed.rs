//! A decoder as an encoder of text: the last token's row instead of its logits.

use super::pass::sized;
use super::{Activations, Batch, Decoder};
use crate::device::Backend;

impl Decoder {
    /// The row of each prompt's last token after the last norm, (prompts, hidden), of a batch that
    /// is not empty.
    pub fn embed(
        &self,
        device: &dyn Backend,
        batch: &Batch,
        with: &mut Activations,
        out: &mut [f32],
    ) {
        let one = self.head.gather(&[0]); // the cheapest table there is
        let mut logits = Vec::new();
        self.forward(device, batch, &one, with, sized(&mut logits, batch.prompts()));
        out.copy_from_slice(&with.last_normed.rows[..out.len()]);
    }
}
