//! Gradients of a weight and of an adapter's factors. Definition: [`WeightBackward`],
//! [`LoraBackward`].
//!
//! Rows are summed in order, a block at a time, whatever is trained with them.

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::vector::add;
use crate::device::{LoraBackward, WeightBackward};

/// Rows whose gradients are summed at a time: both operands stay in the second-level cache.
const ROW_BLOCK: usize = 256;

/// The lengths that both kernels expect of rows that may lie apart.
fn fits(rows: usize, outputs: usize, d_out: &[f32], d_out_row: usize) -> bool {
    rows == 0 || (outputs <= d_out_row && (rows - 1) * d_out_row + outputs <= d_out.len())
}

impl Kernel for WeightBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, inputs, outputs) = (self.shape.rows, self.shape.inputs, self.shape.outputs);
        assert_eq!((self.x.len(), self.d_weight.len()), (rows * inputs, outputs * inputs));
        assert!(self.d_bias.is_empty() || self.d_bias.len() == outputs);
        assert!(fits(rows, outputs, self.d_out, self.d_out_row));
        let mut x = Panels::default();
        for top in (0..rows).step_by(ROW_BLOCK) {
            let count = ROW_BLOCK.min(rows - top);
            x.pack(View::rows(&self.x[top * inputs..], inputs), count, inputs);
            let d_out = &self.d_out[top * self.d_out_row..];
            Product {
                a: View::transposed(d_out, self.d_out_row),
                b: &x,
                size: [outputs, count, inputs],
                c: self.d_weight,
                c_row: inputs,
                add: true,
            }
            .compute();
            for d_out in d_out.chunks(self.d_out_row).take(count) {
                add(self.d_bias, d_out); // of nothing where there is no bias
            }
        }
    }
}

impl Kernel for LoraBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, inputs, outputs) = (self.shape.rows, self.shape.inputs, self.shape.outputs);
        let rank = self.rank;
        assert_eq!((self.down.len(), self.d_down.len()), (rank * inputs, rank * inputs));
        assert_eq!((self.up.len(), self.d_up.len()), (outputs * rank, outputs * rank));
        assert_eq!(self.x.len(), rows * inputs);
        assert!(fits(rows, outputs, self.d_out, self.d_out_row));
        let down = Panels::of(View::transposed(self.down, inputs), inputs, rank);
        let up = Panels::of(View::rows(self.up, rank), outputs, rank);
        let mut ranks = vec![0.0; ROW_BLOCK.min(rows) * rank];
        let mut packed = Panels::default();
        for top in (0..rows).step_by(ROW_BLOCK) {
            let count = ROW_BLOCK.min(rows - top);
            let x = View::rows(&self.x[top * inputs..], inputs);
            let d_out = &self.d_out[top * self.d_out_row..];
            let ranks = &mut ranks[..count * rank];
            // scale · down · x, and what it does to the gradient of `up`.
            narrow(x, &down, [count, inputs, rank], self.scale, ranks);
            packed.pack(View::rows(ranks, rank), count, rank);
            let (a, size) = (View::transposed(d_out, self.d_out_row), [outputs, count, rank]);
            Product { a, b: &packed, size, c: self.d_up, c_row: rank, add: true }.compute();
            // scale · upᵀ · d_out, and what it does to the gradient of `down`.
            let d_rows = View::rows(d_out, self.d_out_row);
            narrow(d_rows, &up, [count, outputs, rank], self.scale, ranks);
            packed.pack(x, count, inputs);
            let (a, size) = (View::transposed(ranks, rank), [rank, count, inputs]);
            Product { a, b: &packed, size, c: self.d_down, c_row: inputs, add: true }.compute();
        }
    }
}

/// scale · a · b, for a `b` of few columns.
#[inline(always)]
fn narrow(a: View<'_>, b: &Panels, size: [usize; 3], scale: f32, c: &mut [f32]) {
    Product { a, b, size, c: &mut *c, c_row: size[2], add: false }.compute();
    c.iter_mut().for_each(|x| *x *= scale);
}
