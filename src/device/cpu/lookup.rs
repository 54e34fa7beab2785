//! A decoder's embeddings. Definition: [`Lookup`], [`LookupBackward`].

use super::Kernel;
use super::vector::add;
use crate::device::{Lookup, LookupBackward};

impl Kernel for Lookup<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let hidden = self.table.inputs();
        assert_eq!(self.out.len(), self.tokens.len() * hidden);
        for (token, out) in self.tokens.iter().zip(self.out.chunks_exact_mut(hidden)) {
            self.table.row(*token as usize, out);
        }
    }
}

impl Kernel for LookupBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        assert_eq!(self.d_out.len(), self.rows.len() * self.hidden);
        for (row, d_out) in self.rows.iter().zip(self.d_out.chunks_exact(self.hidden)) {
            if let Some(row) = row {
                add(&mut self.d_rows[*row as usize * self.hidden..][..self.hidden], d_out);
            }
        }
    }
}
