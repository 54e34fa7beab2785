//! The activation between a decoder's two forward products. Definition: [`Gated`],
//! [`GatedBackward`].

use super::Kernel;
use super::vector::exp;
use crate::device::{Gated, GatedBackward};

/// The logistic function.
#[inline(always)]
fn logistic(x: f32) -> f32 {
    let e = exp(-x.abs()); // at most 1
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

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
                *out = gate * logistic(*gate) * value;
            }
        }
    }
}

impl Kernel for GatedBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, hidden) = (self.shape.rows, self.shape.hidden);
        assert_eq!((self.x.len(), self.d_x.len()), (2 * rows * hidden, 2 * rows * hidden));
        assert_eq!(self.d_out.len(), rows * hidden);
        let lines = self.x.chunks_exact(2 * hidden).zip(self.d_x.chunks_exact_mut(2 * hidden));
        for ((x, d_x), d_out) in lines.zip(self.d_out.chunks_exact(hidden)) {
            let (gates, values) = x.split_at(hidden);
            let (d_gates, d_values) = d_x.split_at_mut(hidden);
            for i in 0..hidden {
                let open = logistic(gates[i]);
                // d(g σ(g)) / dg = σ(g) · (1 + g · (1 − σ(g)))
                let slope = open * gates[i].mul_add(1.0 - open, 1.0);
                d_gates[i] = d_out[i] * values[i] * slope;
                d_values[i] = d_out[i] * (gates[i] * open);
            }
        }
    }
}
