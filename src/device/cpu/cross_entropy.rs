//! The softmax loss over all items. Definition: [`CrossEntropy`].
//!
//! Rows go in blocks, whose scores stay in the caches while they are used. The scores become e =
//! exp(s − max) in place and are never divided by their sum: d_x = (e · table) / Σe − table[target]
//! and d_table = eᵀ · (x / Σe), less x in the target's row, which spares a pass over the widest
//! matrix.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::vector::{add_scaled, exp_and_sum, max};
use crate::device::CrossEntropy;

/// Rows of a block: enough to pay for reading the table's gradient, few enough for the first-level
/// cache of page addresses, since d_table reads the scores by columns.
const BLOCK: usize = 48;

impl Kernel for CrossEntropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (rows, hidden, items) = (self.shape.rows, self.shape.hidden, self.shape.items);
        assert_eq!((self.x.len(), self.d_x.len()), (rows * hidden, rows * hidden));
        assert_eq!((self.table.len(), self.d_table.len()), (items * hidden, items * hidden));
        assert_eq!(self.targets.len(), rows);
        let block = BLOCK.min(rows);
        let by_item = Panels::of(View::transposed(self.table, hidden), hidden, items);
        let by_hidden = Panels::of(View::rows(self.table, hidden), items, hidden);
        let mut weighted = Panels::default();
        let (mut scores, mut x_scaled) = (vec![0.0; block * items], vec![0.0; block * hidden]);
        let mut loss = 0.0;
        for top in (0..rows).step_by(BLOCK) {
            let size = BLOCK.min(rows - top);
            let x = &self.x[top * hidden..(top + size) * hidden];
            let d_x = &mut self.d_x[top * hidden..(top + size) * hidden];
            let targets = &self.targets[top..top + size];
            let scores = &mut scores[..size * items];
            Product {
                a: View::rows(x, hidden),
                b: &by_item,
                size: [size, hidden, items],
                c: scores,
                c_row: items,
                add: false,
            }
            .compute();
            let mut inverse = [0.0; BLOCK];
            for (r, scores) in scores.chunks_exact_mut(items).enumerate() {
                let (target, largest) = (scores[targets[r] as usize], max(scores));
                let total = exp_and_sum(scores, largest);
                loss += f64::from(total).ln() + f64::from(largest) - f64::from(target);
                inverse[r] = self.scale / total;
                let x_scaled = &mut x_scaled[r * hidden..(r + 1) * hidden];
                x_scaled.fill(0.0);
                add_scaled(x_scaled, inverse[r], &x[r * hidden..(r + 1) * hidden]);
            }
            Product {
                a: View::rows(scores, items),
                b: &by_hidden,
                size: [size, items, hidden],
                c: d_x,
                c_row: hidden,
                add: false,
            }
            .compute();
            weighted.pack(View::rows(&x_scaled, hidden), size, hidden);
            Product {
                a: View::transposed(scores, items),
                b: &weighted,
                size: [items, size, hidden],
                c: self.d_table,
                c_row: hidden,
                add: true,
            }
            .compute();
            let lines = d_x.chunks_exact_mut(hidden).zip(x.chunks_exact(hidden));
            for (r, (d_x, x)) in lines.enumerate() {
                let target = targets[r] as usize * hidden..(targets[r] as usize + 1) * hidden;
                for d_x in d_x.iter_mut() {
                    *d_x *= inverse[r];
                }
                add_scaled(d_x, -self.scale, &self.table[target.clone()]);
                add_scaled(&mut self.d_table[target], -self.scale, x);
            }
        }
        loss
    }
}
