//! Layer normalisation. Definition: [`LayerNorm`], [`LayerNormBackward`].
//!
//! With x̂ = (x − mean) · s, s = 1 / √(variance + ε) and g = d_out ⊙ weight, the gradient is
//! d_x = s · (g − mean(g) − x̂ · mean(g ⊙ x̂)).

use super::Kernel;
use super::vector::{add, dot, sum};
use crate::device::{LayerNorm, LayerNormBackward};

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let hidden = self.shape.hidden;
        let elements = self.shape.rows * hidden;
        assert_eq!((self.x.len(), self.out.len()), (elements, elements));
        assert_eq!((self.affine.len(), self.statistics.len()), (2 * hidden, 2 * self.shape.rows));
        let (weight, bias) = self.affine.split_at(hidden);
        let rows = self.x.chunks_exact(hidden).zip(self.out.chunks_exact_mut(hidden));
        for ((x, out), statistics) in rows.zip(self.statistics.chunks_exact_mut(2)) {
            let mean = sum(x) / hidden as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
            let inverse = 1.0 / (dot(out, out) / hidden as f32 + self.epsilon).sqrt();
            for ((out, weight), bias) in out.iter_mut().zip(weight).zip(bias) {
                *out = (*out * inverse).mul_add(*weight, *bias);
            }
            statistics.copy_from_slice(&[mean, inverse]);
        }
    }
}

impl Kernel for LayerNormBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let hidden = self.shape.hidden;
        let elements = self.shape.rows * hidden;
        assert_eq!(
            (self.x.len(), self.d_out.len(), self.d_x.len()),
            (elements, elements, elements)
        );
        assert_eq!((self.affine.len(), self.d_affine.len()), (2 * hidden, 2 * hidden));
        assert_eq!(self.statistics.len(), 2 * self.shape.rows);
        let weight = &self.affine[..hidden];
        let (d_weight, d_bias) = self.d_affine.split_at_mut(hidden);
        let (mut hat, mut g) = (vec![0.0; hidden], vec![0.0; hidden]);
        let rows = self.x.chunks_exact(hidden).zip(self.d_out.chunks_exact(hidden));
        let rows = rows.zip(self.d_x.chunks_exact_mut(hidden));
        for (((x, d_out), d_x), statistics) in rows.zip(self.statistics.chunks_exact(2)) {
            let (mean, inverse) = (statistics[0], statistics[1]);
            for i in 0..hidden {
                hat[i] = (x[i] - mean) * inverse;
                g[i] = d_out[i] * weight[i];
                d_weight[i] = d_out[i].mul_add(hat[i], d_weight[i]);
            }
            add(d_bias, d_out);
            let (g_mean, along) = (sum(&g) / hidden as f32, dot(&g, &hat) / hidden as f32);
            for i in 0..hidden {
                d_x[i] = inverse.mul_add(hat[i].mul_add(-along, g[i] - g_mean), d_x[i]);
            }
        }
    }
}
