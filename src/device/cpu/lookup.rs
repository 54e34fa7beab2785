//! A decoder's embeddings. Definition: [`Lookup`].

use super::Kernel;
use crate::device::Lookup;

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
