//! Normalisation by the root mean square. Definition: [`RmsNorm`].

use super::Kernel;
use super::vector::dot;
use crate::device::RmsNorm;

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
