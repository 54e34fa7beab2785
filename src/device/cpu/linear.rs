//! A product with a weight, and what follows it element by element. Definition: [`Linear`],
//! [`LinearBackward`].

use super::Kernel;
use super::matmul::{Panels, Product, View};
use super::vector::{RowMask, add};
use crate::device::{Activation, Linear, LinearBackward};

/// Rows whose gradients are summed at a time: both operands stay in the second-level cache.
const ROW_BLOCK: usize = 256;

impl Kernel for Linear<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, inputs, outputs) = (self.shape.rows, self.shape.inputs, self.shape.outputs);
        assert_eq!((self.x.len(), self.out.len()), (rows * inputs, rows * outputs));
        let (weight, bias) = self.affine.split_at(outputs * inputs);
        assert!(bias.is_empty() || bias.len() == outputs);
        assert!(self.residual.is_empty() || self.residual.len() == rows * outputs);
        Product {
            a: View::rows(self.x, inputs),
            b: &Panels::of(View::transposed(weight, inputs), inputs, outputs),
            size: [rows, inputs, outputs],
            c: self.out,
            c_row: outputs,
            add: false,
        }
        .compute();
        for (r, out) in self.out.chunks_exact_mut(outputs).enumerate() {
            add(out, bias);
            if self.activation == Activation::Relu {
                for out in out.iter_mut() {
                    *out = if *out > 0.0 { *out } else { 0.0 };
                }
            }
            if let Some(mask) = RowMask::of(self.dropout, r) {
                mask.apply(out);
            }
            if !self.residual.is_empty() {
                add(out, &self.residual[r * outputs..(r + 1) * outputs]);
            }
        }
    }
}

impl Kernel for LinearBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (rows, inputs, outputs) = (self.shape.rows, self.shape.inputs, self.shape.outputs);
        assert_eq!((self.x.len(), self.d_x.len()), (rows * inputs, rows * inputs));
        assert_eq!(self.d_out.len(), rows * outputs);
        assert_eq!(self.affine.len(), self.d_affine.len());
        let (d_weight, d_bias) = self.d_affine.split_at_mut(outputs * inputs);
        let weight = &self.affine[..outputs * inputs];
        let weight = Panels::of(View::rows(weight, inputs), outputs, inputs);
        let mut x = Panels::default();
        let mut d_sum = vec![0.0; ROW_BLOCK.min(rows) * outputs];
        for top in (0..rows).step_by(ROW_BLOCK) {
            let bottom = rows.min(top + ROW_BLOCK);
            let d_sum = &mut d_sum[..(bottom - top) * outputs];
            d_sum.copy_from_slice(&self.d_out[top * outputs..bottom * outputs]);
            for (r, d_sum) in d_sum.chunks_exact_mut(outputs).enumerate() {
                if let Some(mask) = RowMask::of(self.dropout, top + r) {
                    mask.apply(d_sum);
                }
                if self.activation == Activation::Relu {
                    let out = &self.out[(top + r) * outputs..(top + r + 1) * outputs];
                    for (d_sum, out) in d_sum.iter_mut().zip(out) {
                        *d_sum = if *out > 0.0 { *d_sum } else { 0.0 };
                    }
                }
                add(d_bias, d_sum);
            }
            Product {
                a: View::rows(d_sum, outputs),
                b: &weight,
                size: [bottom - top, outputs, inputs],
                c: &mut self.d_x[top * inputs..bottom * inputs],
                c_row: inputs,
                add: false,
            }
            .compute();
            x.pack(View::rows(&self.x[top * inputs..], inputs), bottom - top, inputs);
            Product {
                a: View::transposed(d_sum, outputs),
                b: &x,
                size: [outputs, bottom - top, inputs],
                c: d_weight,
                c_row: inputs,
                add: true,
            }
            .compute();
        }
    }
}
