//! Normalisation by the root mean square. Definition: [`RmsNorm`], [`RmsNormBackward`].
//!
//! With x̂ = x · s, s = 1 / √(mean(x²) + ε) and g = d_out ⊙ weight, the gradient is
//! d_x = s · (g − x̂ · mean(g ⊙ x̂)).

use super::Kernel;
use super::vector::dot;
use crate::device::{RmsNorm, RmsNormBackward};

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, hidden) = (self.shape.rows, self.shape.hidden);
        assert_eq!((self.x.len(), self.out.len()), (rows * hidden, rows * hidden));
        assert_eq!((self.weight.len(), self.statistics.len()), (hidden, rows));
        let lines = self.x.chunks_exact(hidden).zip(self.out.chunks_exact_mut(hidden));
        for ((x, out), statistic) in lines.zip(self.statistics) {
            let inverse = 1.0 / (dot(x, x) / hidden as f32 + self.epsilon).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * inverse * weight;
            }
            *statistic = inverse;
        }
    }
}

impl Kernel for RmsNormBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, hidden) = (self.shape.rows, self.shape.hidden);
        let elements = rows * hidden;
        assert_eq!((self.x.len(), self.d_out.len()), (elements, elements));
        assert_eq!((self.d_x.len(), self.weight.len()), (elements, hidden));
        assert_eq!(self.statistics.len(), rows);
        assert!(self.d_weight.is_empty() || self.d_weight.len() == hidden);
        let (mut hat, mut g) = (vec![0.0; hidden], vec![0.0; hidden]);
        let lines = self.x.chunks_exact(hidden).zip(self.d_out.chunks_exact(hidden));
        let lines = lines.zip(self.d_x.chunks_exact_mut(hidden)).zip(self.statistics);
        for (((x, d_out), d_x), inverse) in lines {
            for i in 0..hidden {
                hat[i] = x[i] * inverse;
                g[i] = d_out[i] * self.weight[i];
            }
            let along = dot(&g, &hat) / hidden as f32;
            for i in 0..hidden {
                d_x[i] = inverse.mul_add(hat[i].mul_add(-along, g[i]), d_x[i]);
            }
            for ((d_weight, hat), d_out) in self.d_weight.iter_mut().zip(&hat).zip(d_out) {
                *d_weight = d_out.mul_add(*hat, *d_weight);
            }
        }
    }
}
