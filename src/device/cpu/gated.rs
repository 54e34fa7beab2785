//! The activation between a decoder's two forward products. Definition: [`Gated`].

use super::Kernel;
use super::vector::exp;
use crate::device::Gated;

impl Kernel for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, hidden) = (self.shape.rows, self.shape.hidden);
        assert_eq!((self.x.len(), self.out.len()), (2 * rows * hidden, rows * hidden));
        let lines = self.x.chunks_exact(2 * hidden).zip(self.out.chunks_exact_mut(hidden));
        for (x, out) in lines {
            let (gates, values) = x.split_at(hidden);
            for ((out, gate), value) in out.iter_mut().zip(gates).zip(values) {
                let e = exp(-gate.abs()); // at most 1
                let numerator = if *gate < 0.0 { e } else { 1.0 };
                *out = gate * (numerator / (1.0 + e)) * value;
            }
        }
    }
}
