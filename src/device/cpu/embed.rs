//! Item and position lookup. Definition: [`Embed`], [`EmbedBackward`].

use super::Kernel;
use super::vector::{RowMask, add, add_scaled};
use crate::device::{Embed, EmbedBackward};

fn row(index: u32, width: usize) -> std::ops::Range<usize> {
    index as usize * width..(index as usize + 1) * width
}

impl Kernel for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let hidden = self.shape.hidden;
        assert_eq!(self.out.len(), self.shape.tokens * hidden);
        assert_eq!(
            (self.items.len(), self.positions.len()),
            (self.shape.tokens, self.shape.tokens)
        );
        let scale = (hidden as f32).sqrt();
        for (t, out) in self.out.chunks_exact_mut(hidden).enumerate() {
            out.copy_from_slice(&self.position_table[row(self.positions[t], hidden)]);
            add_scaled(out, scale, &self.item_table[row(self.items[t], hidden)]);
            if let Some(mask) = RowMask::of(self.dropout, t) {
                mask.apply(out);
            }
        }
    }
}

impl Kernel for EmbedBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let hidden = self.shape.hidden;
        assert_eq!(self.d_out.len(), self.shape.tokens * hidden);
        assert_eq!(
            (self.items.len(), self.positions.len()),
            (self.shape.tokens, self.shape.tokens)
        );
        let scale = (hidden as f32).sqrt();
        let mut d_row = vec![0.0; hidden];
        for (t, d_out) in self.d_out.chunks_exact(hidden).enumerate() {
            d_row.copy_from_slice(d_out);
            if let Some(mask) = RowMask::of(self.dropout, t) {
                mask.apply(&mut d_row);
            }
            add(&mut self.d_position_table[row(self.positions[t], hidden)], &d_row);
            add_scaled(&mut self.d_item_table[row(self.items[t], hidden)], scale, &d_row);
        }
    }
}
