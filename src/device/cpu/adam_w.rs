//! The optimiser's step. Definition: [`AdamW`].

use super::Kernel;
use crate::device::AdamW;

impl Kernel for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const EPSILON: f32 = 1e-8;
        let (weights, means, squares) = self.state;
        let count = self.gradient.len();
        assert_eq!((weights.len(), means.len(), squares.len()), (count, count, count));
        let (beta_1, beta_2) = self.betas;
        let step = self.step.min(i32::MAX as u64) as i32;
        let unbias = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(step))) as f32;
        let (unbias_1, unbias_2) = (unbias(beta_1), unbias(beta_2));
        let keep = 1.0 - self.rate * self.decay;
        for i in 0..count {
            let g = self.gradient[i] * self.scale;
            means[i] = beta_1.mul_add(means[i], (1.0 - beta_1) * g);
            squares[i] = beta_2.mul_add(squares[i], (1.0 - beta_2) * g * g);
            let update = means[i] * unbias_1 / ((squares[i] * unbias_2).sqrt() + EPSILON);
            weights[i] = weights[i] * keep - self.rate * update;
        }
    }
}
