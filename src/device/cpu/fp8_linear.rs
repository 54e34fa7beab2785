//! [`LoraLinear`] with a weight in FP8: rows become FP8 numbers as well, each with a scale of its
//! own. The definition of what devices with such products compute; not written to be fast.
//!
//! out[r, c] = row_scale[r] · weight_scale[c] · ⟨q(x[r]), q(weight[c])⟩ + …: an adapter's down is
//! in FP8, too, and what it gives is multiplied by its up in bf16.

use super::fp8::quantise;
use super::lora_linear::{Lora, Packed, Strips};
use super::matrix::{Matrix, Precision};
use crate::device::LoraLinear;

/// Rows as FP8 numbers.
struct Quantised {
    strips: Strips,
    scales: Vec<f32>,
}

impl Quantised {
    fn of(x: &[f32], width: usize) -> Self {
        let mut numbers = vec![0.0; x.len()];
        let rows = numbers.chunks_exact_mut(width).zip(x.chunks_exact(width));
        let scales = rows.map(|(to, row)| quantise(row, to)).collect();
        let mut strips = Strips::default();
        strips.pack(Precision::Bf16, &numbers, width);
        Self { strips, scales }
    }

    /// The product with a weight: calls `each(row, first output, values)`.
    fn product(&self, weight: &Matrix, mut each: impl FnMut(usize, usize, &mut [f32])) {
        let mut values = Vec::new();
        self.strips.product(weight, None, |row, first, sums| {
            let scales = &weight.scales()[first..];
            values.clear();
            values.extend(sums.iter().zip(scales).map(|(sum, s)| self.scales[row] * (s * sum)));
            each(row, first, &mut values);
        });
    }

    /// What an adapter adds, (rows, outputs).
    fn change(&self, lora: &Lora) -> Vec<f32> {
        let (down, up, scale) = lora.factors();
        let (ranks, outputs, rows) = (down.outputs(), up.outputs(), self.scales.len());
        let (mut inner, mut change) = (vec![0.0; rows * ranks], vec![0.0; rows * outputs]);
        self.product(down, |row, first, values| {
            let to = inner[row * ranks + first..].iter_mut();
            to.zip(values).for_each(|(to, value)| *to = scale * *value);
        });
        let mut strips = Strips::default();
        strips.pack(up.precision(), &inner, ranks);
        strips.product(up, None, |row, first, sums| {
            change[row * outputs + first..][..sums.len()].copy_from_slice(sums);
        });
        change
    }
}

impl LoraLinear<'_> {
    /// The call, with rows in FP8.
    pub(super) fn sum_fp8(mut self) {
        self.check();
        let (inputs, outputs, weight) = (self.shape.inputs, self.shape.outputs, self.weight);
        let mut start = 0;
        while start < self.shape.rows {
            let (rows, lora) = self.alike(start);
            let x = Quantised::of(&self.x[rows.start * inputs..rows.end * inputs], inputs);
            let change = lora.map(|lora| x.change(lora));
            x.product(weight, |row, first, values| {
                if let Some(change) = &change {
                    let change = &change[row * outputs + first..];
                    values.iter_mut().zip(change).for_each(|(value, more)| *value += more);
                }
                self.put(start + row, first, values);
            });
            start = rows.end;
        }
    }
}
